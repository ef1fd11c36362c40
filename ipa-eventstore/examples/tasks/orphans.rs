//! Ending what an earlier run left behind.
//!
//! A process does not end because its parent was killed. So each start of a step is stored with its process's [`Identity`], and a
//! run that takes up another one's work first ends every process that the store knows as running: or a step might run twice
//! at once. The one trick is in the identity: a number alone may be another process's by now, a number with its time of
//! start in this boot cannot.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

/// By what the process of a step is known again: the leader of its group, when that started, in which boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The number of the process, and of its group.
    pub group: u32,
    /// When it started, as the system tells it.
    pub started: String,
    /// The boot in which that number and time mean something; empty where the time is of the calendar.
    pub boot: String,
}

/// How long a group that was sent SIGKILL may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often to look whether it is.
const LOOK: Duration = Duration::from_millis(5);

impl Identity {
    /// That of a process that lives, and leads a group. Does not change when it executes a program.
    ///
    /// # Errors
    ///
    /// When there is no such process, or the system does not tell.
    pub fn of(pid: u32) -> io::Result<Identity> {
        let process =
            system::process(pid)?.ok_or_else(|| io::Error::other(format!("there is no process {pid}")))?;
        Ok(Identity { group: pid, started: process.started, boot: system::boot()? })
    }

    /// Ends the group, if anything of it lives; `true` if there was something. Blocks until it is gone.
    ///
    /// # Errors
    ///
    /// When the system does not tell, or does not allow it, or something lives on all the same.
    pub fn end(&self) -> io::Result<bool> {
        if self.boot != system::boot()? || !self.lives()? {
            return Ok(false);
        }
        let group =
            i32::try_from(self.group).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let since = Instant::now();
        loop {
            match kill_process_group(group, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
            if !self.lives()? {
                return Ok(true);
            }
            if since.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("process group {} does not end", self.group)));
            }
            // These are no children of ours, and POSIX tells nobody but a parent of an end: we have to look.
            std::thread::sleep(LOOK);
        }
    }

    /// Whether anything of the group lives. If the leader does not, the number of the group is still that of the others, and no
    /// process can be given it; if another process has the number, it was free, and so nobody was left.
    fn lives(&self) -> io::Result<bool> {
        let members: Vec<Process> =
            system::processes()?.into_iter().filter(|process| process.group == self.group).collect();
        Ok(match members.iter().find(|process| process.pid == self.group) {
            Some(leader) if leader.started != self.started => false,
            _ => members.iter().any(|process| !process.is_zombie),
        })
    }
}

/// A line of the system's table of processes.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    group: u32,
    started: String,
    /// It has ended, and its parent has not been told yet; it executes nothing any more.
    is_zombie: bool,
}

#[cfg(target_os = "linux")]
mod system {
    use std::{fs, io};

    use super::Process;

    pub fn boot() -> io::Result<String> {
        Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
    }

    pub fn processes() -> io::Result<Vec<Process>> {
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            processes.extend(process(pid)?);
        }
        Ok(processes)
    }

    pub fn process(pid: u32) -> io::Result<Option<Process>> {
        // One that cannot be read has ended.
        Ok(fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse(pid, &stat)))
    }

    /// See proc_pid_stat(5). The name, in parentheses, may contain anything; after its end come state, parent, group (fields 3 to 5),
    /// and the time of start is field 22.
    pub(super) fn parse(pid: u32, stat: &str) -> Option<Process> {
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
        Some(Process {
            pid,
            group: fields.get(2)?.parse().ok()?,
            started: (*fields.get(19)?).to_owned(),
            is_zombie: matches!(*fields.first()?, "Z" | "X"),
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::{io, process::Command};

    use super::Process;

    pub fn boot() -> io::Result<String> {
        Ok(String::new())
    }

    pub fn processes() -> io::Result<Vec<Process>> {
        let ps =
            Command::new("ps").args(["-A", "-o", "pid=,pgid=,stat=,lstart="]).env("LC_ALL", "C").output()?;
        Ok(String::from_utf8_lossy(&ps.stdout).lines().filter_map(parse).collect())
    }

    pub fn process(pid: u32) -> io::Result<Option<Process>> {
        Ok(processes()?.into_iter().find(|process| process.pid == pid))
    }

    fn parse(line: &str) -> Option<Process> {
        let mut words = line.split_whitespace();
        Some(Process {
            pid: words.next()?.parse().ok()?,
            group: words.next()?.parse().ok()?,
            is_zombie: words.next()?.starts_with('Z'),
            started: words.collect::<Vec<_>>().join(" "),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell that leads a group and has said that it is ready, and its output.
    fn shell(line: &str) -> (Child, BufReader<std::process::ChildStdout>) {
        let mut child =
            Command::new("sh").args(["-c", line]).process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        output.read_line(&mut ready).unwrap();
        (child, output)
    }

    #[test]
    fn a_group_is_ended_whole_and_once() {
        let (mut child, mut output) = shell("sleep 1000 & echo ready; exec sleep 1000");
        let identity = Identity::of(child.id()).unwrap();
        assert_eq!(Identity::of(child.id()).unwrap(), identity);
        assert!(identity.end().unwrap());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        // The one in the background held the pipe open until it was gone too.
        assert_eq!(output.read_line(&mut String::new()).unwrap(), 0);
        assert!(!identity.end().unwrap());
        assert!(Identity::of(child.id()).is_err());
    }

    #[test]
    fn what_a_leader_left_is_ended() {
        let (mut child, mut output) = shell("sleep 1000 & echo ready");
        let identity = Identity { group: child.id(), started: "gone".into(), boot: system::boot().unwrap() };
        child.wait().unwrap();
        assert!(identity.end().unwrap());
        assert_eq!(output.read_line(&mut String::new()).unwrap(), 0);
    }

    #[test]
    fn another_process_of_the_same_number_is_left_alone() {
        let (mut child, _output) = shell("echo ready; exec sleep 1000");
        let real = Identity::of(child.id()).unwrap();
        assert!(!Identity { started: "0".into(), ..real.clone() }.end().unwrap());
        assert!(!Identity { boot: "another".into(), ..real.clone() }.end().unwrap());
        assert!(child.try_wait().unwrap().is_none(), "it lives");
        assert!(real.end().unwrap());
        child.wait().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_table_is_read_whatever_a_process_is_called() {
        let rest = "1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        for name in ["sh", "a b", "x) Z 1 (y", ")"] {
            let process = system::parse(5, &format!("5 ({name}) S {rest}")).unwrap();
            assert_eq!(
                (process.group, process.started.as_str(), process.is_zombie),
                (77, "987654", false),
                "{name}"
            );
        }
        assert!(system::parse(5, &format!("5 (sh) Z {rest}")).unwrap().is_zombie);
        assert_eq!(system::parse(5, "nonsense"), None);
    }
}
