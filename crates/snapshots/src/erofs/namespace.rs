//! A mount namespace in which layers are attached, for kernels whose overlayfs takes no detached ones (before Linux 6.15): it
//! takes directories of the mount namespace only that the caller is in.
//!
//! The namespace belongs to one thread of this process, in which overlays are mounted. What the host unmounts goes from it as
//! well; what is mounted in it the host never sees. It ends with the thread.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::mpsc,
    thread,
};

use rustix::{
    fs::CWD,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, mount, mount_change, move_mount,
        unmount,
    },
};

use crate::{Result, snapshotter::system};

type Job = Box<dyn FnOnce(&mut Places) + Send>;

/// The thread in the namespace. It ends with the last of its handles.
#[derive(Clone, Debug)]
pub(super) struct Namespace(mpsc::Sender<Job>);

/// A place where a layer is attached; dropping it detaches the layer.
#[derive(Debug)]
pub(super) struct Attached {
    namespace: Namespace,
    place: PathBuf,
}

/// Where layers are attached: a directory for each in a tmpfs that only this namespace has.
struct Places {
    root: PathBuf,
    next: u64,
}

impl Namespace {
    /// A new namespace. `root` is a directory, made if it is missing, over which the places are mounted.
    pub(super) fn new(root: PathBuf) -> Result<Self> {
        fs_err::create_dir_all(&root)?;
        let (sender, jobs) = mpsc::channel::<Job>();
        let namespace = Self(sender);
        let (told, ready) = mpsc::channel();
        thread::Builder::new().name("layers".into()).spawn(move || {
            let entered = enter(&root);
            let failed = entered.is_err();
            // Whoever asked is waiting.
            let _ = told.send(entered);
            if !failed {
                let mut places = Places { root, next: 0 };
                jobs.iter().for_each(|job| job(&mut places));
            }
        })?;
        ready.recv().map_err(io::Error::other)??;
        Ok(namespace)
    }

    /// Does something in the namespace.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        self.with_places(|_| work())
    }

    /// Attaches a detached mount.
    pub(super) fn attach(&self, mount: OwnedFd) -> Result<(OwnedFd, Attached)> {
        let (mount, place) = self.with_places(move |places| -> Result<_> {
            let place = places.attach(std::os::fd::AsFd::as_fd(&mount))?;
            Ok((mount, place))
        })??;
        Ok((mount, Attached { namespace: self.clone(), place }))
    }

    fn with_places<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Places) -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, answer) = mpsc::channel();
        let job = move |places: &mut Places| {
            // Whoever asked is waiting.
            let _ = sender.send(work(places));
        };
        self.0.send(Box::new(job)).map_err(|_| io::Error::other("the thread of the layers has ended"))?;
        Ok(answer.recv().map_err(io::Error::other)?)
    }
}

fn enter(root: &PathBuf) -> Result<()> {
    skiff_sys::clone::unshare_mounts().map_err(system("unshare mounts"))?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(system("making mounts slaves"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", root, "tmpfs", flags, c"mode=700").map_err(system("mounting a tmpfs for layers"))?;
    mount_change(root, MountPropagationFlags::PRIVATE).map_err(system("making the tmpfs private"))
}

impl Places {
    fn attach(&mut self, mount: BorrowedFd<'_>) -> Result<PathBuf> {
        let place = self.root.join(self.next.to_string());
        self.next += 1;
        fs_err::create_dir(&place)?;
        move_mount(mount, "", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(system("attaching a layer"))?;
        Ok(place)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let place = std::mem::take(&mut self.place);
        let detach = move |_: &mut Places| {
            // A place that stays is an empty directory in a tmpfs.
            let _ = unmount(&place, UnmountFlags::DETACH);
            let _ = fs_err::remove_dir(&place);
        };
        // Without its thread there is no namespace, and nothing is attached.
        let _ = self.namespace.0.send(Box::new(detach));
    }
}
