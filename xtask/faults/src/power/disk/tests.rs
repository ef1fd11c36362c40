use super::*;

fn open(open: u32, name: &str) -> Record {
    Record::Open { open, name: name.into() }
}

fn write(open: u32, offset: u64, data: &[u8]) -> Record {
    Record::Write { open, offset, data: data.to_vec() }
}

/// Every different directory that many losses of power leave.
fn outcomes(records: &[Record]) -> Vec<BTreeMap<String, Vec<u8>>> {
    let mut seen = Vec::new();
    for seed in 0..400 {
        let mut random = Rng::with_seed(seed);
        let mut disk = Disk::default();
        records.iter().for_each(|record| disk.apply(record, &mut random));
        let folder = tempfile::tempdir().unwrap();
        disk.lose_power(&mut random, folder.path()).unwrap();
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            files.insert(entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
        }
        if !seen.contains(&files) {
            seen.push(files);
        }
    }
    seen
}

fn directory_synced() -> [Record; 3] {
    [open(1, "a"), open(2, ""), Record::Sync { open: 2 }]
}

#[test]
fn what_was_synced_is_there() {
    let mut records = directory_synced().to_vec();
    records.extend([write(1, 0, b"hello"), Record::Sync { open: 1 }]);
    assert_eq!(outcomes(&records), [BTreeMap::from([("a".to_owned(), b"hello".to_vec())])]);
}

#[test]
fn what_was_not_synced_may_be_lost_in_any_part_but_a_sector_is_whole() {
    let mut records = directory_synced().to_vec();
    let sectors = |letter: u8| vec![letter; 2 * SECTOR];
    records.extend([write(1, 0, &sectors(b'a')), Record::Sync { open: 1 }, write(1, 0, &sectors(b'b'))]);
    let mut seen: Vec<_> = outcomes(&records)
        .into_iter()
        .map(|files| {
            let content = &files["a"];
            assert_eq!(content.len(), 2 * SECTOR);
            content.chunks(SECTOR).for_each(|sector| assert!(sector.iter().all(|byte| *byte == sector[0])));
            (content[0], content[SECTOR])
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [(b'a', b'a'), (b'a', b'b'), (b'b', b'a'), (b'b', b'b')]);
}

#[test]
fn a_sector_never_goes_back_beyond_what_was_synced_nor_skips_what_it_was() {
    let mut records = directory_synced().to_vec();
    records.extend([write(1, 0, b"aa"), Record::Sync { open: 1 }, write(1, 0, b"b"), write(1, 1, b"c")]);
    let mut seen: Vec<_> =
        outcomes(&records).into_iter().map(|mut files| files.remove("a").unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, [b"aa", b"ba", b"bc"]);
}

#[test]
fn a_name_is_there_for_sure_once_the_directory_is_synced() {
    let mut records = vec![open(1, "new"), write(1, 0, b"x"), Record::Sync { open: 1 }];
    records.push(Record::Rename { from: "new".into(), to: "a".into() });
    let names = |records: &[Record]| {
        let mut names: Vec<Vec<String>> =
            outcomes(records).into_iter().map(|files| files.into_keys().collect()).collect();
        names.sort_unstable();
        names
    };
    let none: Vec<String> = vec![];
    assert_eq!(names(&records), [none, vec!["a".into()], vec!["new".into()]]);
    records.extend([open(2, ""), Record::Sync { open: 2 }]);
    assert_eq!(names(&records), [vec!["a".to_owned()]]);
    records.push(Record::Unlink { name: "a".into() });
    assert_eq!(names(&records), [vec![], vec!["a".to_owned()]]);
}

#[test]
fn a_truncation_that_was_not_synced_may_be_lost() {
    let mut records = directory_synced().to_vec();
    records.extend([write(1, 0, b"abc"), Record::Sync { open: 1 }, Record::Truncate { open: 1, length: 1 }]);
    let mut seen: Vec<_> =
        outcomes(&records).into_iter().map(|mut files| files.remove("a").unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, [b"a".to_vec(), b"abc".to_vec()]);
}

#[test]
fn what_a_failed_sync_has_lost_no_later_sync_brings_back() {
    let mut records = directory_synced().to_vec();
    let (first, second) = (vec![b'a'; SECTOR], vec![b'b'; SECTOR]);
    records.extend([write(1, 0, &first), Record::FailedSync { open: 1 }]);
    records.extend([write(1, SECTOR as u64, &second), Record::Sync { open: 1 }]);
    let lost = outcomes(&records).iter().filter(|files| files["a"][0] != b'a').count();
    let kept = outcomes(&records).iter().filter(|files| files["a"][0] == b'a').count();
    assert!(lost > 0 && kept > 0);
    assert!(outcomes(&records).iter().all(|files| files["a"][SECTOR..] == second));
    // Written again, it is there.
    records.extend([write(1, 0, &first), Record::Sync { open: 1 }]);
    assert!(outcomes(&records).iter().all(|files| files["a"] == [first.clone(), second.clone()].concat()));
}
