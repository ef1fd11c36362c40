//! The command line: what may be asked of the tool, with its defaults and units.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ipa_eventstore::{Position, StreamId, StreamType};

const AFTER_HELP: &str = "\
STORE is the file of a store. Everything but `import` only reads, also beside a running writer, and
takes no lock. While a verb reads there are a -wal and a -shm file beside the store, so its directory
must be writable; they are removed again when nobody has the store open. They may stay behind,
harmless, after `tail`, and when the tool is killed or interrupted.

Exit codes:
  0    done; nothing wrong (also when the reader of a pipe went away)
  1    damage: `check` found something, or a read met it
  2    bad usage
  3    the store cannot be opened, read or written: missing, locked, another program's, newer
  4    there is no such stream
  5    the other file is at fault: an import that does not fit, a target that exists
  130  interrupted (`tail` ends with 0)";

/// Look into a store of ipa-eventstore, check it, copy it, and move its events.
#[derive(Debug, Parser)]
#[command(name = "ipa-events", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,

    /// Print for machines: one JSON object, or one a line where there are many
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List streams, in the order of their names
    Ls(Ls),
    /// Print the events of a stream
    Cat(Cat),
    /// Print events as they are stored, until Ctrl-C
    ///
    /// Without --after, --position or --from-start only those that are stored from now on. To go on
    /// where an earlier run ended, give the last version or position that it printed (with --json).
    #[command(verbatim_doc_comment)]
    Tail(Tail),
    /// Count what there is in a store
    Stat(Store),
    /// Look for damage: in pages, references, versions, ids, JSON, snapshots
    Check(Store),
    /// Copy a store into a new file, while it is written to
    ///
    /// The copy is of one moment. It is made in TARGET.part, synced, checked, and then renamed, so
    /// TARGET is always whole. An existing file is never replaced.
    #[command(verbatim_doc_comment)]
    Backup(Backup),
    /// Write events as JSON lines, in the order of their positions
    ///
    /// Each line has every field of its event, the payload to the byte. The last line counts the
    /// others. What is appended while it runs is left out.
    #[command(verbatim_doc_comment)]
    Export(Export),
    /// Append the events of an export to a store, creating it where there is none
    ///
    /// Events keep their ids and versions; the store gives them new positions and times (the old ones
    /// stay in the export, for information). What is there already is skipped, so an import that was
    /// interrupted is finished by running it again. The store must have no other writer meanwhile.
    #[command(verbatim_doc_comment)]
    Import(Import),
}

#[derive(Debug, Args)]
pub struct Store {
    /// The store's file
    pub store: PathBuf,
}

#[derive(Debug, Args)]
pub struct Ls {
    /// The store's file
    pub store: PathBuf,

    /// Only streams of this type
    #[arg(long, value_name = "TYPE")]
    pub r#type: Option<StreamType>,

    /// Only streams whose name comes after this one
    #[arg(long, value_name = "NAME")]
    pub after: Option<StreamId>,

    /// At most so many
    #[arg(long, value_name = "N")]
    pub max: Option<usize>,
}

#[derive(Debug, Args)]
pub struct Cat {
    /// The store's file
    pub store: PathBuf,

    /// The stream's name
    pub stream: StreamId,

    /// Only versions above this one
    #[arg(long, value_name = "VERSION", default_value_t = 0)]
    pub after: u64,

    /// Only versions below this one
    #[arg(long, value_name = "VERSION")]
    pub before: Option<u64>,

    /// At most so many
    #[arg(long, value_name = "N")]
    pub max: Option<usize>,

    /// Only events of this type; may be given several times
    #[arg(long, value_name = "TYPE")]
    pub r#type: Vec<String>,

    /// The last one first
    #[arg(long)]
    pub backward: bool,
}

#[derive(Debug, Args)]
pub struct Tail {
    /// The store's file
    pub store: PathBuf,

    /// The stream's name; without it, all streams
    pub stream: Option<StreamId>,

    /// Begin behind this version of the stream
    #[arg(long, value_name = "VERSION", requires = "stream", conflicts_with_all = ["position", "from_start"])]
    pub after: Option<u64>,

    /// Begin behind this position of the store: forty hexadecimal digits
    #[arg(long, value_name = "POSITION", conflicts_with_all = ["stream", "from_start"])]
    pub position: Option<Position>,

    /// Begin with the first event
    #[arg(long)]
    pub from_start: bool,

    /// Only events of this type; may be given several times
    #[arg(long, value_name = "TYPE")]
    pub r#type: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Backup {
    /// The store's file
    pub store: PathBuf,

    /// The file to make
    pub target: PathBuf,
}

#[derive(Debug, Args)]
pub struct Export {
    /// The store's file
    pub store: PathBuf,

    /// The file to make; `-` is standard output
    #[arg(default_value = "-")]
    pub file: PathBuf,

    /// Only this stream; may be given several times
    #[arg(long, value_name = "NAME")]
    pub stream: Vec<StreamId>,

    /// Only streams of this type
    #[arg(long, value_name = "TYPE")]
    pub r#type: Option<StreamType>,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The store's file
    pub store: PathBuf,

    /// The export; `-` is standard input
    #[arg(default_value = "-")]
    pub file: PathBuf,

    /// Write nothing: say what would be imported, or what is wrong
    #[arg(long)]
    pub dry_run: bool,
}

impl Verb {
    /// The store's file.
    pub fn store(&self) -> &PathBuf {
        match self {
            Self::Ls(Ls { store, .. })
            | Self::Cat(Cat { store, .. })
            | Self::Tail(Tail { store, .. })
            | Self::Stat(Store { store })
            | Self::Check(Store { store })
            | Self::Backup(Backup { store, .. })
            | Self::Export(Export { store, .. })
            | Self::Import(Import { store, .. }) => store,
        }
    }
}
