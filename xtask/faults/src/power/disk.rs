//! A disk that loses what was not synced.
//!
//! What a sync has confirmed is there. Of what came later, each sector is as it was after none, some or all of its writes,
//! whatever became of its neighbours; so writes are dropped, reordered and torn, and a sector never is. Lengths and names
//! are the file system's and are kept or lost each by itself, in their order: a length with the writes that set it or
//! without them, a name only for sure once its directory was synced. A sync that failed confirms nothing, and what it was
//! for may be lost for good, though the process goes on seeing it.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::Path,
};

use fastrand::Rng;

use super::trace::Record;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// The files of one directory, as they are on the disk, and what is on its way there.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    files: Vec<File>,
    /// The names that are surely on the disk, and what was done to names since.
    names: BTreeMap<String, usize>,
    unsynced: Vec<Naming>,
    /// The names as the process sees them.
    seen: BTreeMap<String, usize>,
    opens: HashMap<u32, Open>,
}

#[derive(Debug, Clone, Default)]
struct File {
    disk: Vec<u8>,
    unsynced: Vec<Change>,
    /// As the process sees it.
    seen: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Change {
    /// Whole sectors, up to the end of the file: what is written is what the process sees, not only what it wrote.
    Write {
        offset: usize,
        data: Vec<u8>,
    },
    Truncate(usize),
}

#[derive(Debug, Clone)]
enum Naming {
    Create(String, usize),
    Unlink(String),
    Rename(String, String, usize),
}

#[derive(Debug, Clone, Copy)]
enum Open {
    Directory,
    File(usize),
}

/// How much of what is on its way arrives.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Luck {
    Nothing,
    Everything,
    /// Each piece by itself, with this chance to arrive whole.
    Chance(f64),
}

impl Luck {
    fn draw(random: &mut Rng) -> Self {
        match random.u32(..8) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::Chance(0.02),
            3 => Self::Chance(0.98),
            _ => Self::Chance(random.f64()),
        }
    }

    /// How many of these changes of one thing arrive.
    fn arrive(self, changes: usize, random: &mut Rng) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Everything => changes,
            Self::Chance(chance) if random.f64() < chance => changes,
            Self::Chance(_) => random.usize(..=changes),
        }
    }
}

impl Disk {
    /// A disk with the files that are in this directory, all of them synced.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn of(directory: &Path) -> io::Result<Self> {
        let mut disk = Self::default();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let content = fs::read(entry.path())?;
            disk.names.insert(entry.file_name().to_string_lossy().into_owned(), disk.files.len());
            disk.files.push(File { disk: content.clone(), seen: content, unsynced: Vec::new() });
        }
        disk.seen = disk.names.clone();
        Ok(disk)
    }

    /// Does what the process did. Chance decides only what of a failed sync arrived.
    pub fn apply(&mut self, record: &Record, random: &mut Rng) {
        match record {
            Record::Open { open, name } if name.is_empty() => {
                self.opens.insert(*open, Open::Directory);
            }
            Record::Open { open, name } => {
                let file = *self.seen.entry(name.clone()).or_insert_with(|| {
                    let file = self.files.len();
                    self.files.push(File::default());
                    self.unsynced.push(Naming::Create(name.clone(), file));
                    file
                });
                self.opens.insert(*open, Open::File(file));
            }
            Record::Write { open, offset, data } => {
                if let Some(file) = self.file(*open) {
                    file.write(*offset as usize, data);
                }
            }
            Record::Truncate { open, length } => {
                if let Some(file) = self.file(*open) {
                    file.seen.resize(*length as usize, 0);
                    file.unsynced.push(Change::Truncate(*length as usize));
                }
            }
            Record::Sync { open } => match self.opens.get(open) {
                Some(Open::Directory) => {
                    self.names = self.seen.clone();
                    self.unsynced.clear();
                }
                Some(Open::File(file)) => self.files[*file].synced(),
                None => {}
            },
            Record::FailedSync { open } => {
                if let Some(file) = self.file(*open) {
                    // The system takes the pages for clean from now on, whatever the disk has.
                    file.disk = file.after(Luck::draw(random), random);
                    file.unsynced.clear();
                }
            }
            Record::Unlink { name } => {
                self.seen.remove(name);
                self.unsynced.push(Naming::Unlink(name.clone()));
            }
            Record::Rename { from, to } => {
                if let Some(file) = self.seen.remove(from) {
                    self.seen.insert(to.clone(), file);
                    self.unsynced.push(Naming::Rename(from.clone(), to.clone(), file));
                }
            }
            Record::Mark(_) => {}
        }
    }

    /// What the disk may hold if the power goes now, put into an empty directory.
    ///
    /// # Errors
    ///
    /// When the files cannot be written.
    pub fn lose_power(&self, random: &mut Rng, into: &Path) -> io::Result<()> {
        let luck = Luck::draw(random);
        let mut names = self.names.clone();
        for naming in &self.unsynced {
            if luck.arrive(1, random) == 0 {
                continue;
            }
            match naming {
                Naming::Create(name, file) => {
                    names.insert(name.clone(), *file);
                }
                Naming::Unlink(name) => {
                    names.remove(name);
                }
                Naming::Rename(from, to, file) => {
                    names.remove(from);
                    names.insert(to.clone(), *file);
                }
            }
        }
        for (name, file) in &names {
            // Files fare differently: they lie in different places.
            let luck = if random.bool() { luck } else { Luck::draw(random) };
            fs::write(into.join(name), self.files[*file].after(luck, random))?;
        }
        Ok(())
    }

    fn file(&mut self, open: u32) -> Option<&mut File> {
        match self.opens.get(&open) {
            Some(Open::File(file)) => self.files.get_mut(*file),
            _ => None,
        }
    }
}

impl File {
    fn write(&mut self, offset: usize, data: &[u8]) {
        put(&mut self.seen, offset, data);
        let from = offset / SECTOR * SECTOR;
        let to = (offset + data.len()).next_multiple_of(SECTOR).min(self.seen.len());
        self.unsynced.push(Change::Write { offset: from, data: self.seen[from..to].to_vec() });
    }

    /// What the process sees is on the disk, but for what a failed sync has lost and nothing was written over.
    fn synced(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write { offset, data } => put(&mut self.disk, offset, &data),
                Change::Truncate(length) => self.disk.resize(length, 0),
            }
        }
        self.disk.resize(self.seen.len(), 0);
    }

    /// The content when only some of what was not synced has arrived.
    fn after(&self, luck: Luck, random: &mut Rng) -> Vec<u8> {
        // How many changes of each sector arrive, and how many of the length.
        let mut changes: HashMap<usize, usize> = HashMap::new();
        for sector in self.unsynced.iter().flat_map(Change::sectors) {
            *changes.entry(sector).or_default() += 1;
        }
        let mut sectors: Vec<_> = changes.into_iter().collect();
        sectors.sort_unstable();
        let mut left: HashMap<usize, usize> =
            sectors.into_iter().map(|(sector, changes)| (sector, luck.arrive(changes, random))).collect();
        let mut lengths = luck.arrive(self.unsynced.len(), random);
        // What a file was made longer by and that was never written: zeros, or what the disk had there before.
        let stale = random.u32(..4) == 0;

        let mut content = self.disk.clone();
        let mut length = content.len();
        for change in &self.unsynced {
            if lengths > 0 {
                lengths -= 1;
                length = change.length_after(length);
                if let Change::Truncate(cut) = change {
                    content.truncate(*cut);
                }
            }
            let Change::Write { offset, data } = change else {
                continue;
            };
            for sector in change.sectors() {
                if let Some(left) = left.get_mut(&sector).filter(|left| **left > 0) {
                    *left -= 1;
                    let from = (sector * SECTOR).max(*offset);
                    let to = ((sector + 1) * SECTOR).min(offset + data.len());
                    put_over(&mut content, from, &data[from - offset..to - offset], stale, random);
                }
            }
        }
        if content.len() < length {
            fill(&mut content, length, stale, random);
        }
        content.truncate(length);
        content
    }
}

impl Change {
    fn length_after(&self, length: usize) -> usize {
        match self {
            Self::Write { offset, data } => length.max(offset + data.len()),
            Self::Truncate(length) => *length,
        }
    }

    fn sectors(&self) -> std::ops::Range<usize> {
        match self {
            Self::Write { offset, data } => offset / SECTOR..(offset + data.len()).div_ceil(SECTOR),
            Self::Truncate(_) => 0..0,
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if content.len() < offset + data.len() {
        content.resize(offset + data.len(), 0);
    }
    content[offset..offset + data.len()].copy_from_slice(data);
}

fn put_over(content: &mut Vec<u8>, offset: usize, data: &[u8], stale: bool, random: &mut Rng) {
    if content.len() < offset {
        fill(content, offset, stale, random);
    }
    put(content, offset, data);
}

fn fill(content: &mut Vec<u8>, length: usize, stale: bool, random: &mut Rng) {
    let from = content.len();
    content.resize(length, 0);
    if stale {
        random.fill(&mut content[from..]);
    }
}

#[cfg(test)]
mod tests;
