//! Positions that another store gave. For subjects that know some, see
//! [`Subject::foreign_positions`].

use super::Subject;
use super::fixtures::{everything, stream};
use crate::{ReadAll, StoreError, Subscribe};

/// ES-21 a position that is not this store's is an error, and not the end of the store.
pub async fn foreign_positions_are_refused(subject: &Subject) {
    let store = subject.store();
    stream(&store, "a", 2).await;
    for foreign in subject.foreign().iter().copied() {
        let good = everything(&store).await[0].position;
        let reads = [
            ReadAll::new().after(foreign),
            ReadAll::new().before(foreign),
            ReadAll::new().after(good).before(foreign).backward(),
            ReadAll::new().after(foreign).max_count(0),
        ];
        for read in reads {
            let error = store.read_all(read).await.unwrap_err();
            assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
        }
        let error = store.subscribe(Subscribe::all(foreign)).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    }
    assert_eq!(everything(&store).await.len(), 2);
}
