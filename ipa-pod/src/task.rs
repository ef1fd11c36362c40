//! The key of a pod.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt;

use arcstr::ArcStr;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The id of a task, and so of its pod and of its event stream. Not blank. Cheap to clone.
///
/// ```
/// use ipa_pod::TaskId;
///
/// let task: TaskId = "agent-7".try_into()?;
/// assert_eq!(task.as_str(), "agent-7");
/// assert!(TaskId::try_from(" ").is_err());
/// # Ok::<(), ipa_pod::InvalidTaskId>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(ArcStr);

impl TaskId {
    /// An id from text.
    ///
    /// # Errors
    ///
    /// [`InvalidTaskId`] if it is blank.
    pub fn new(text: impl Into<ArcStr>) -> Result<Self, InvalidTaskId> {
        let text = text.into();
        if text.trim().is_empty() { Err(InvalidTaskId) } else { Ok(Self(text)) }
    }

    /// The text that all clones share.
    pub(crate) fn shared(&self) -> ArcStr {
        self.0.clone()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A task id that is blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a task id must not be blank")]
pub struct InvalidTaskId;

impl From<Infallible> for InvalidTaskId {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl TryFrom<&str> for TaskId {
    type Error = InvalidTaskId;

    fn try_from(text: &str) -> Result<Self, InvalidTaskId> {
        Self::new(text)
    }
}

impl TryFrom<String> for TaskId {
    type Error = InvalidTaskId;

    fn try_from(text: String) -> Result<Self, InvalidTaskId> {
        Self::new(text)
    }
}

impl TryFrom<&String> for TaskId {
    type Error = InvalidTaskId;

    fn try_from(text: &String) -> Result<Self, InvalidTaskId> {
        Self::new(text.as_str())
    }
}

impl From<&TaskId> for TaskId {
    fn from(task: &TaskId) -> Self {
        task.clone()
    }
}

impl From<TaskId> for String {
    fn from(task: TaskId) -> Self {
        task.0.as_str().into()
    }
}

impl AsRef<str> for TaskId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TaskId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
