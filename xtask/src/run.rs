//! What every verb shares: how a verb fails, and how cargo and other programs are called.

use std::{
    env, fmt,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde::de::DeserializeOwned;

/// Why a verb ended without success; it decides the exit code.
#[derive(Debug)]
pub enum Error {
    /// What was checked or run did not hold: exit code 1.
    Failed(String),
    /// The call itself made no sense (an unreadable list, options that exclude each other): exit code 2.
    Usage(String),
}

impl Error {
    /// A failure (exit code 1) with this message.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// A usage error (exit code 2) with this message.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    /// The exit code that this error stands for.
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message) | Self::Usage(message) => f.write_str(message),
        }
    }
}

/// The result of a verb.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// The root of the workspace: the folder above xtask's.
///
/// Cargo says at run time where xtask's manifest is, so a tree that was moved after it was built is found again.
pub fn root() -> PathBuf {
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.ends_with("xtask"))
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest_dir.parent().map(Path::to_path_buf).unwrap_or(manifest_dir)
}

/// The cargo that called us (or the one in the path), with these arguments, at the root of the workspace.
pub fn cargo<I, S>(args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|part| part.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs the command with our stdin, stdout and stderr; fails unless it succeeds.
pub fn check(mut command: Command) -> Result {
    let status = command.status().map_err(|error| not_started(&command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::failed(format!("`{}` failed ({status})", shown(&command))))
    }
}

/// Runs the command in our place: on Unix this returns only if it could not be started.
#[cfg(unix)]
pub fn hand_over(mut command: Command) -> Result<u8> {
    use std::os::unix::process::CommandExt;

    let error = command.exec();
    Err(Error::failed(format!("cannot run {}: {error}", command.get_program().display())))
}

/// Runs the command and gives back its exit code.
#[cfg(not(unix))]
pub fn hand_over(mut command: Command) -> Result<u8> {
    let status = command
        .status()
        .map_err(|error| Error::failed(format!("cannot run {}: {error}", command.get_program().display())))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Runs the command and gives back its stdout; stderr stays ours. Fails unless it succeeds.
pub fn output(mut command: Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| not_started(&command, &error))?;
    if !output.status.success() {
        return Err(Error::failed(format!("`{}` failed ({})", shown(&command), output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the command and hands each line of its stdout (with its line end) to `line` as it comes; says whether the
/// command succeeded.
pub fn lines(mut command: Command, mut line: impl FnMut(&[u8]) -> io::Result<()>) -> Result<bool> {
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| not_started(&command, &error))?;
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            match stdout.read_until(b'\n', &mut buffer).and_then(|read| line(&buffer).map(|()| read)) {
                Ok(0) => break,
                Ok(_) => {}
                // Dropping the pipe ends the child at its next write, if it has not ended anyway.
                Err(error) => {
                    return Err(Error::failed(format!("the output of `{}`: {error}", shown(&command))));
                }
            }
        }
    }
    let status =
        child.wait().map_err(|error| Error::failed(format!("waiting for `{}`: {error}", shown(&command))))?;
    Ok(status.success())
}

/// Parses what a program printed as JSON.
pub fn json<T: DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::failed(format!("{what} is not the JSON that was expected: {error}")))
}

/// A duration for people: `12.3 s`, `2 min 05 s`.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        let seconds = seconds.round() as u64;
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

/// A count with its noun: `1 kill`, `2 kills`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn not_started(command: &Command, error: &io::Error) -> Error {
    Error::failed(format!("cannot run `{}`: {error}", shown(command)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_folder_of_the_workspace() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"), "{manifest}");
    }

    #[test]
    fn a_command_is_shown_as_typed_without_the_program_s_folder() {
        let mut command = Command::new("/opt/bin/cargo");
        command.args(["test", "--workspace"]);
        assert_eq!(shown(&command), "cargo test --workspace");
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(time(Duration::from_millis(125_400)), "2 min 05 s");
    }

    #[cfg(unix)]
    #[test]
    fn lines_come_whole_and_the_exit_is_told() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; printf two; exit 3"]);
        let mut seen = Vec::new();
        let ok = lines(command, |line| {
            seen.push(String::from_utf8_lossy(line).into_owned());
            Ok(())
        });
        assert!(!ok.unwrap());
        assert_eq!(seen, ["one\n", "two", ""]);
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = check(Command::new("no-such-program-here")).unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"), "{error}");
        assert_eq!(error.code(), 1);
    }
}
