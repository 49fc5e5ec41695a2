//! Held against an archive that Docker 28.5.2 saved: `docker save fix:three example.com:5000/x/y:3`.

use crate::archives::{Dir, load};

const SAVED: &[u8] = include_bytes!("../data/docker-28.5-save.tar");

/// Where the header of `blobs/sha256/` starts; its time is the time of saving.
const SAVE_TIME: std::ops::Range<usize> = 512 + 136..512 + 156;

#[test]
fn what_docker_saved_is_loaded_and_saved_again_byte_for_byte() {
    for driver in [None, Some("overlay2"), Some("vfs")] {
        let dir = Dir::new();
        let store = dir.open_with(driver);
        let loaded = load(&store, SAVED).unwrap();
        assert_eq!(loaded.len(), 1);
        let id = loaded[0].id.to_string();
        assert_eq!(id, "b6c836ea035823f4740808ede97544ec2091200a4bc5e3969c654133b63e6a5f");
        let names: Vec<String> = loaded[0].references.iter().map(|r| r.familiar()).collect();
        assert_eq!(names, ["fix:three", "example.com:5000/x/y:3"]);
        let mut saved = Vec::new();
        store.save(&["fix:three".to_owned(), "example.com:5000/x/y:3".to_owned()], None, &mut saved).unwrap();
        let mut want = SAVED.to_vec();
        // The time of saving, and the checksum that follows it.
        want[SAVE_TIME].copy_from_slice(&saved[SAVE_TIME]);
        assert!(saved == want, "{driver:?}: {:?}", saved.iter().zip(&want).position(|(a, b)| a != b));
    }
}

#[test]
fn history_and_sizes_are_dockers() {
    let dir = Dir::new();
    let store = dir.open();
    load(&store, SAVED).unwrap();
    let history = store.history("fix:three").unwrap();
    let facts: Vec<_> =
        history.iter().map(|h| (h.id.is_some(), h.created_by.as_str(), h.size, h.comment.as_str())).collect();
    assert_eq!(
        facts,
        [
            (true, "CMD x", 0, "buildkit.dockerfile.v0"),
            (false, "RUN 2", 6, ""),
            (false, "RUN 1", 4, ""),
            (false, "RUN 0", 7, ""),
        ]
    );
    assert_eq!(history[0].tags.len(), 2);
    let image = store.get("b6c836ea").unwrap();
    assert_eq!(image.size, 17);
    assert_eq!(image.config.config.as_ref().unwrap().cmd.as_deref().unwrap()[2], "a<b && c");
}
