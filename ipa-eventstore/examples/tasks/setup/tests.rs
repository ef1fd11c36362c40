//! What is refused, and that nothing is changed by it.

use std::collections::BTreeMap;

use super::*;

const ONE: &str = "[[task]]\nid = \"one\"\ntitle = \"T\"\n[[task.step]]\nid = \"s\"\ncommand = \"true\"\n";

struct Place {
    folder: tempfile::TempDir,
    args: Args,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("t.db");
        let args = Args::read(["tasks".as_ref(), "--db".as_ref(), db.as_os_str()]).unwrap();
        Place { folder, args }
    }

    async fn prepare(&self, text: &str) -> Result<Ready, Refused> {
        prepare(&self.args, &Plan::parse(Path::new("t.toml"), text).unwrap()).await
    }

    /// The one line that this is refused with, after which all is as it was.
    async fn refused(&self, text: &str) -> String {
        let before = self.files();
        let line = match self.prepare(text).await {
            Ok(_) => panic!("it was not refused"),
            Err(refused) => refused.to_string(),
        };
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_eq!(self.files(), before, "{line}");
        line
    }

    /// All files, by name and content, but for the locks.
    fn files(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                    files.insert(path, None);
                } else if path.extension().is_none_or(|kind| kind != "lock") {
                    files.insert(path.clone(), Some(fs::read(path).unwrap()));
                }
            }
        }
        files
    }
}

#[tokio::test]
async fn every_task_gets_its_stream_and_keeps_it() {
    let place = Place::new();
    let two = format!("{ONE}{}", ONE.replace("one", "two"));
    for (text, tasks) in [(ONE, 1), (&*two, 2), (&*two, 2), (ONE, 1)] {
        let ready = place.prepare(text).await.unwrap();
        assert_eq!(ready.before, vec![1; tasks]);
        ready.store.close().await.unwrap();
    }
    assert!(place.args.results_dir().join("two").is_dir());
}

#[tokio::test]
async fn another_definition_is_refused_before_anything_is_created() {
    let mut place = Place::new();
    place.prepare(ONE).await.unwrap().store.close().await.unwrap();
    let other = ONE.replace("\"true\"", "\"false\"");
    let line = place.refused(&format!("{}{other}", ONE.replace("one", "new"))).await;
    assert!(line.starts_with("t.toml:8:6: task `one`: stands in ") && line.contains("--fresh"), "{line}");
    place.args.fresh = true;
    assert_eq!(place.prepare(&other).await.unwrap().before, [1]);
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone_by_fresh_too() {
    for fresh in [false, true] {
        let mut place = Place::new();
        place.args.fresh = fresh;
        fs::write(&place.args.db, "another program's, and longer than the header of a database, which is a hundred bytes long, by a bit").unwrap();
        fs::create_dir(place.args.results_dir()).unwrap();
        fs::write(place.args.results_dir().join("precious"), "x").unwrap();
        let line = place.refused(ONE).await;
        assert!(line.contains("t.db") && line.contains("not an event store"), "{line}");
    }
}

#[tokio::test]
async fn a_store_in_use_is_left_alone_by_fresh_too() {
    let mut place = Place::new();
    let running = place.prepare(ONE).await.unwrap();
    for fresh in [false, true] {
        place.args.fresh = fresh;
        let line = place.refused(ONE).await;
        assert!(line.contains("in use by another run (process "), "{line}");
    }
    running.store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_in_the_way_is_named() {
    let place = Place::new();
    fs::write(place.args.scratch_dir(), "").unwrap();
    let line = place.refused(ONE).await;
    assert!(line.contains("t.db.work is in the way: it is not a directory"), "{line}");

    let place = Place::new();
    fs::create_dir(&place.args.db).unwrap();
    assert!(place.refused(ONE).await.contains("t.db is in the way: it is not a file"));
}

#[tokio::test]
async fn fresh_forgets_the_store_and_the_results_and_nothing_else() {
    let mut place = Place::new();
    place.prepare(ONE).await.unwrap().store.close().await.unwrap();
    let neighbour = place.folder.path().join("t.db.mine");
    fs::write(&neighbour, "x").unwrap();
    fs::write(place.args.results_dir().join("one/result"), "x").unwrap();
    place.args.fresh = true;
    let ready = place.prepare(&ONE.replace("one", "two")).await.unwrap();
    assert!(!place.args.results_dir().join("one").exists() && neighbour.exists());
    let streams = ready.store.list_streams(ListStreams::new()).await.unwrap();
    assert_eq!(streams.iter().map(|stream| stream.id.as_str()).collect::<Vec<_>>(), ["two"]);
}
