//! Measures import, load, save and removal on a file: `measure DRIVER DIRECTORY ROOTFS.tar [ARCHIVE.tar]`.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::{path::Path, time::Instant};

use skiff_images::{ImageStore, ImportOptions, Plain, RemoveOptions};

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what:<10} {:>8.1} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [driver, dir, tar, archives @ ..] = &arguments[..] else {
        return Err("DRIVER DIRECTORY TAR [ARCHIVE]".into());
    };
    let dir = Path::new(dir);
    let snapshots = timed("open", || skiff_snapshots::open(&dir.join("snapshots"), Some(driver)))?;
    let store = ImageStore::open(&dir.join("images"), snapshots)?;
    let nobody = |_: &skiff_types::ImageId| Vec::new();
    for _ in 0..3 {
        let mut file = fs_err::File::open(tar)?;
        let id = timed("import", || store.import(&mut file, &ImportOptions::default()))?.to_string();
        let mut out = Plain(fs_err::File::create(dir.join("saved.tar"))?);
        timed("save", || store.save(std::slice::from_ref(&id), None, &mut out))?;
        let force = RemoveOptions { force: true, no_prune: false };
        timed("rmi", || store.remove(&id, force, &nobody))?;
        timed("garbage", || store.snapshotter().collect_garbage())?;
        for archive in archives {
            let mut file = fs_err::File::open(archive)?;
            let loaded = timed("load", || store.load(&mut file, None, &mut |_| ()))?;
            let names: Vec<String> = loaded.iter().map(|l| l.id.to_string()).collect();
            let mut out = Plain(fs_err::File::create(dir.join("saved.tar"))?);
            timed("save", || store.save(&names, None, &mut out))?;
            for name in &names {
                timed("rmi", || store.remove(name, force, &nobody))?;
            }
            store.snapshotter().collect_garbage()?;
        }
    }
    Ok(())
}
