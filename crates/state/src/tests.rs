use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Thing {
    n: u32,
}

const THINGS: Table<Thing> = Table::new("things");
const SCHEMA: Schema = Schema { migrations: &[] };

fn things(path: &std::path::Path) -> Vec<(String, Thing)> {
    Database::open(path, &SCHEMA).unwrap().all(&THINGS).unwrap()
}

#[test]
fn what_was_committed_is_there_after_reopening_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let writer = Database::open(&path, &SCHEMA).unwrap().into_writer().unwrap();
    let pending: Vec<_> =
        (0..50).map(|n| writer.commit(Batch::new().put(&THINGS, "same", &Thing { n }))).collect();
    pending.into_iter().for_each(|p| p.wait().unwrap());
    writer.commit(Batch::new().put(&THINGS, "other", &Thing { n: 7 })).wait().unwrap();
    writer.commit(Batch::new().delete(&THINGS, "other")).detach();
    writer.close();
    assert_eq!(things(&path), [("same".to_owned(), Thing { n: 49 })]);
}

#[test]
fn a_closed_store_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Database::open(&dir.path().join("s"), &SCHEMA).unwrap().into_writer().unwrap();
    writer.close();
    assert!(writer.commit(Batch::new().put(&THINGS, "a", &Thing { n: 1 })).wait().is_err());
}

#[test]
fn a_store_in_use_and_a_damaged_one_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let first = Database::open(&path, &SCHEMA).unwrap();
    assert!(matches!(Database::open(&path, &SCHEMA), Err(OpenError::InUse { .. })));
    drop(first);
    fs_err::write(&path, vec![7; 8192]).unwrap();
    assert!(matches!(Database::open(&path, &SCHEMA), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_start_that_was_killed_while_it_made_the_store_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let half = dir.path().join("state.redb.new");
    for left in [&b""[..], &[7; 8192]] {
        fs_err::write(&half, left).unwrap();
        assert_eq!(things(&path), []);
        assert!(!half.exists());
        fs_err::remove_file(&path).unwrap();
    }
    // One that is being made by somebody else at this moment.
    let other = Database::open(&half, &SCHEMA).unwrap();
    assert!(matches!(Database::open(&path, &SCHEMA), Err(OpenError::InUse { .. })));
    drop(other);
    assert_eq!(things(&path), []);
}

#[test]
fn migrations_run_once_and_a_newer_store_is_refused() {
    fn add(txn: &redb::WriteTransaction) -> Result<(), redb::Error> {
        txn.open_table(THINGS.raw())?.insert("migrated", br#"{"n":2}"#.as_slice())?;
        Ok(())
    }
    const SECOND: Schema = Schema { migrations: &[add] };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    drop(Database::open(&path, &SCHEMA).unwrap());
    let second = Database::open(&path, &SECOND).unwrap();
    assert_eq!(second.all(&THINGS).unwrap(), [("migrated".to_owned(), Thing { n: 2 })]);
    drop(second);
    match Database::open(&path, &SCHEMA) {
        Err(OpenError::Newer { found: 2, known: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_value_of_another_form_names_its_key() {
    #[derive(Serialize, Deserialize)]
    struct Other {
        s: String,
    }
    const OTHERS: Table<Other> = Table::new("things");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let writer = Database::open(&path, &SCHEMA).unwrap().into_writer().unwrap();
    writer.commit(Batch::new().put(&THINGS, "k", &Thing { n: 1 })).wait().unwrap();
    writer.close();
    let db = Database::open(&path, &SCHEMA).unwrap();
    let error = db.all(&OTHERS).err().unwrap();
    assert!(error.to_string().ends_with("cannot read things/k"), "{error}");
}
