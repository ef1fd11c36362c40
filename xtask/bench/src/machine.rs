//! On what was measured: the machine, and the versions.

use std::path::Path;
use std::process::Command;

/// The machine, in a line.
pub fn machine() -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let cpu = after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kilobytes = after(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
        .unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cpu}, {cores} cores, {:.0} GB, Linux {}", kilobytes / 1e6, kernel.trim())
}

/// The versions: of rustc, of Elixir if it is there, of these packages in these lock files.
pub fn versions(packages: &[&str], locks: &[&Path]) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(text) = said("rustc", "--version") {
        found.push(text.lines().next().unwrap_or_default().to_owned());
    }
    let locks: Vec<String> = locks.iter().filter_map(|lock| std::fs::read_to_string(lock).ok()).collect();
    for package in packages {
        if let Some(version) = locks.iter().find_map(|lock| locked(lock, package)) {
            found.push(format!("{package} {version}"));
        }
    }
    if let Some(text) = said("elixir", "--version") {
        let lines = text.lines().map(|line| line.split(" [").next().unwrap_or_default().trim());
        found.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    found
}

fn said(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The version of a package in a lock file.
fn locked(lock: &str, package: &str) -> Option<String> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split('"').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_that_of_the_whole_name() {
        let lock = "[[package]]\nname = \"ractor-supervisor\"\nversion = \"0.2.0\"\n\n[[package]]\nname = \"ractor\"\nversion = \"0.16.5\"\n";
        assert_eq!(locked(lock, "ractor").as_deref(), Some("0.16.5"));
        assert_eq!(locked(lock, "ractor-supervisor").as_deref(), Some("0.2.0"));
        assert_eq!(locked(lock, "kameo"), None);
    }
}
