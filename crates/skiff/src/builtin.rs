//! The images that the binary carries: `hello-world`, whose program `build.rs` makes, and `registry:2`, which is this
//! binary itself in the place of docker's registry.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use fs_err::File;
use skiff_archive::tar::{END, Entry, EntryKind, encode, padding};
use skiff_engine::BuiltinImage;

/// All of them, for the engine.
pub(crate) const IMAGES: [BuiltinImage; 2] = [
    BuiltinImage {
        name: "hello-world:latest",
        layer: || Ok(Box::new(&include_bytes!(concat!(env!("OUT_DIR"), "/hello.tar"))[..])),
        changes: &["CMD [\"/hello\"]"],
    },
    BuiltinImage {
        name: "registry:2",
        layer: registry,
        changes: &[
            "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "EXPOSE 5000",
            "VOLUME /var/lib/registry",
            "ENTRYPOINT [\"/entrypoint.sh\"]",
            "CMD [\"/etc/docker/registry/config.yml\"]",
        ],
    },
];

/// What docker's registry has in its image, as far as this one has a choice.
const CONFIG: &[u8] = b"\
version: 0.1
log:
  fields:
    service: registry
storage:
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
";

/// A file system with this program under the names that people use there. Owned by root, dated 1970: the same program makes
/// the same image.
fn registry() -> io::Result<Box<dyn Read + Send>> {
    // Whatever lies at its path by now, this is what runs.
    let mut program = File::open("/proc/self/exe")?;
    let size = program.seek(SeekFrom::End(0))?;
    program.rewind()?;
    let mut head = Vec::new();
    let mut put = |path: &str, kind, mode, content: &[u8]| {
        let size = content.len() as u64;
        encode(&Entry { path: path.into(), kind, mode, size, ..Entry::default() }, &mut head);
        head.extend_from_slice(content);
        head.resize(head.len() + padding(size), 0);
    };
    for path in [
        "bin/",
        "etc/",
        "etc/docker/",
        "etc/docker/registry/",
        "usr/",
        "usr/bin/",
        "var/",
        "var/lib/",
        "var/lib/registry/",
    ] {
        put(path, EntryKind::Directory, 0o755, &[]);
    }
    put("tmp/", EntryKind::Directory, 0o1777, &[]);
    put("etc/docker/registry/config.yml", EntryKind::File, 0o644, CONFIG);
    put("etc/passwd", EntryKind::File, 0o644, b"root:x:0:0:root:/:/bin/registry\n");
    for (path, target) in
        [("bin/registry", "skiff"), ("entrypoint.sh", "bin/skiff"), ("usr/bin/htpasswd", "../../bin/skiff")]
    {
        put(path, EntryKind::Symlink(target.into()), 0o777, &[]);
    }
    encode(&Entry { path: b"bin/skiff".to_vec(), mode: 0o755, size, ..Entry::default() }, &mut head);
    let tail = [vec![0; padding(size)], END.to_vec()].concat();
    Ok(Box::new(Cursor::new(head).chain(program.take(size)).chain(Cursor::new(tail))))
}
