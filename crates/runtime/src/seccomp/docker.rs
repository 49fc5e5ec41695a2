//! Docker's default profile, as Docker Engine 28 hands it to its runtime: an allow list over `EPERM`, widened by capabilities.
//!
//! The tests hold it against what a real engine wrote for the default, an added and all capabilities.

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArgBuilder, LinuxSeccompOperator,
    LinuxSyscall,
};
use rustix::io::Errno;

use super::Host;
use crate::capabilities::CapSet;

/// What every container may call.
const ALWAYS: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
    eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate
    fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr
    flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
    ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd
    getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid
    getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid
    gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get
    ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
    lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek
    lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret
    mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify
    mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal
    msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat
    _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
    pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6
    pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2
    restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity
    sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send
    sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
    setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
    setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area
    set_tid_address setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack
    signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64
    statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create
    timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64
    ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice
    wait4 waitid waitpid write writev
";

/// Calls of one architecture only: which, as [`Host::arch`] names it, and what.
const BY_ARCHITECTURE: [(&str, &str); 3] = [
    ("arm64", "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
    ("amd64", "arch_prctl"),
    ("amd64", "modify_ldt"),
];

/// What a capability opens; `CAP_SYS_ADMIN` and `CAP_DAC_READ_SEARCH` have their place before these. The kernel checks the same capabilities, so the filter only spares it the trouble.
const BY_CAPABILITY: [(Capability, &str); 12] = [
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (Capability::SysModule, "delete_module init_module finit_module"),
    (Capability::SysPacct, "acct"),
    (Capability::SysPtrace, "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    (Capability::SysRawio, "iopl ioperm"),
    (Capability::SysTime, "settimeofday stime clock_settime clock_settime64"),
    (Capability::SysTtyConfig, "vhangup"),
    (Capability::SysNice, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (Capability::Syslog, "syslog"),
    (Capability::Bpf, "bpf"),
    (Capability::Perfmon, "perf_event_open"),
];

/// What `CAP_SYS_ADMIN` opens.
const SYS_ADMIN: &str = "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
    lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd \
    setdomainname sethostname setns syslog umount umount2 unshare";

/// `ptrace` and its kin could be used to escape a filter before this kernel.
const PTRACE_IS_SAFE: (u32, u32) = (4, 8);

/// Sockets to the hypervisor are not isolated by network namespaces.
const AF_VSOCK: u64 = 40;

/// The values of `personality` that containers may set: Linux, Linux 32-bit, both with UNAME26, and asking what is set.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// All `CLONE_NEW*` flags but that of time namespaces, which share a bit with the exit signal.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// The profile for a container with these capabilities.
pub fn default_profile(caps: CapSet, host: &Host) -> LinuxSeccomp {
    let mut rules = vec![allow(ALWAYS)];
    if host.kernel >= PTRACE_IS_SAFE {
        rules.push(allow("process_vm_readv process_vm_writev ptrace"));
    }
    rules.push(allow_if("socket", LinuxSeccompOperator::ScmpCmpNe, AF_VSOCK));
    rules.extend(PERSONALITIES.map(|value| allow_if("personality", LinuxSeccompOperator::ScmpCmpEq, value)));
    rules
        .extend(BY_ARCHITECTURE.iter().filter(|(arch, _)| *arch == host.arch).map(|(_, names)| allow(names)));
    if caps.contains(Capability::DacReadSearch) {
        rules.push(allow("open_by_handle_at"));
    }
    if caps.contains(Capability::SysAdmin) {
        rules.push(allow(SYS_ADMIN));
    } else {
        // Namespaces are not for containers. clone3 has its flags in memory, where a filter cannot look: programs fall back to clone.
        rules.push(allow_if("clone", LinuxSeccompOperator::ScmpCmpMaskedEq, CLONE_NAMESPACES));
        let mut refused = rule("clone3", LinuxSeccompAction::ScmpActErrno);
        refused.set_errno_ret(Some(Errno::NOSYS.raw_os_error() as u32));
        rules.push(refused);
    }
    let opened = BY_CAPABILITY.iter().filter(|(capability, _)| caps.contains(*capability));
    rules.extend(opened.map(|(_, names)| allow(names)));

    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(Errno::PERM.raw_os_error() as u32))
        .set_architectures(Some(architectures(host)))
        .set_syscalls(Some(rules));
    profile
}

/// The native architecture and those whose programs its kernel also runs.
fn architectures(host: &Host) -> Vec<Arch> {
    match host.arch {
        "arm64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
    }
}

fn rule(names: &str, action: LinuxSeccompAction) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.split_ascii_whitespace().map(str::to_owned).collect()).set_action(action);
    rule
}

fn allow(names: &str) -> LinuxSyscall {
    rule(names, LinuxSeccompAction::ScmpActAllow)
}

/// Allows a call by its first argument.
fn allow_if(name: &str, operator: LinuxSeccompOperator, value: u64) -> LinuxSyscall {
    // without required fields, building cannot fail
    let argument = LinuxSeccompArgBuilder::default().index(0usize).value(value).op(operator).build();
    let mut rule = allow(name);
    rule.set_args(argument.ok().map(|argument| vec![argument]));
    rule
}
