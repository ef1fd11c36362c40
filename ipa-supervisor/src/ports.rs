//! Ports: what a supervisor tells the layer above, stated as traits that the layer implements.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::machine::{ChildRef, Note};
use crate::reason::BoxError;

/// Where the children of a supervisor are listed, and publish their addresses.
///
/// Each incarnation is entered before its `init`; its [`Entry`] is dropped when the incarnation's task ends, before its exit is
/// reported. So a name is free again before a successor is started. Called on the child's own task; an error or a panic fails
/// that start.
pub trait Directory: Send + Sync + 'static {
    /// Lists an incarnation that is about to start.
    fn enter(&self, child: &ChildRef) -> Result<Arc<dyn Entry>, BoxError>;
}

/// An incarnation's entry in a [`Directory`]. Its `Drop` takes it out.
pub trait Entry: Send + Sync + 'static {
    /// Sets the address at which the child is reached from now on.
    fn publish(&self, address: Published);
}

/// An address of a type that only the child and those who look for it know.
#[derive(Clone)]
pub struct Published(Arc<dyn Holds>);

/// What an address is kept in.
pub(crate) trait Holds: Any + Send + Sync {
    /// The name of the address's type, which a `dyn Any` does not know.
    fn type_name(&self) -> &'static str;

    /// Puts the address into `wanted`, if that is an `Option` of its type. For addresses that are nothing but a pointer to this.
    fn give(self: Arc<Self>, wanted: &mut dyn Any) {
        let _ = wanted;
    }
}

/// An address that is kept as it is.
struct Value<T>(T);

impl<T: Any + Send + Sync> Holds for Value<T> {
    fn type_name(&self) -> &'static str {
        std::any::type_name::<T>()
    }
}

impl Published {
    /// Wraps an address.
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self(Arc::new(Value(value)))
    }

    /// What an address points to, for the address: nothing is allocated.
    pub(crate) fn shared(holder: Arc<dyn Holds>) -> Self {
        Self(holder)
    }

    /// The address, if it is a `T`.
    pub fn get<T: Any + Clone>(&self) -> Option<T> {
        if let Some(Value(value)) = (&*self.0 as &dyn Any).downcast_ref() {
            return Some(T::clone(value));
        }
        let mut wanted = None::<T>;
        self.0.clone().give(&mut wanted);
        wanted
    }

    /// The name of the type it is, for error messages.
    pub fn type_name(&self) -> &'static str {
        (*self.0).type_name()
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Published<{}>", self.type_name())
    }
}

/// Who is told what a supervisor notes: starts, exits, stuck children.
///
/// Called in the supervisor's loop, one note after the other, by whichever task runs the loop then: the supervisor's, or a child's. So
/// it must be quick and must not block: set a number, send on a channel. A panic in it is caught and logged. Any `Fn(&Note)` is one.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, note: &Note);
}

impl<F: Fn(&Note) + Send + Sync + 'static> Observer for F {
    fn observe(&self, note: &Note) {
        self(note);
    }
}
