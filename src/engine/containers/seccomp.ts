/**
 * The default seccomp filter: system calls that no container needs, or that reach around its namespaces, are refused. What a
 * capability unlocks is allowed with that capability only (seccomp(2); OCI runtime-spec `linux.seccomp`). Unknown calls answer
 * ENOSYS, so that libraries fall back to older ones; gated calls answer EPERM.
 */
import type { SeccompSpec } from '../contract/runtime-spec.ts'

const files = `access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fadvise64_64 fallocate
  fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64
  fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init inotify_init1
  inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir
  mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead
  readdir readlink readlinkat readv removexattr rename renameat renameat2 rmdir sendfile sendfile64 setxattr splice stat stat64 statfs statfs64
  statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes
  vmsplice write writev cachestat getxattrat setxattrat listxattrat removexattrat`
const memory = `brk get_mempolicy madvise mbind membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap msync
  munlock munlockall munmap map_shadow_stack mseal pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages set_mempolicy set_mempolicy_home_node`
const processes = `alarm capget capset execve execveat exit exit_group fork futex futex_time64 futex_wait futex_wake futex_requeue futex_waitv getcpu getegid
  getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid getresuid32
  getrlimit get_robust_list getrusage getsid get_thread_area gettid getuid getuid32 ioprio_get ioprio_set kill
  landlock_add_rule landlock_create_ruleset landlock_restrict_self pause pidfd_open pidfd_send_signal prctl prlimit64 ptrace process_vm_readv process_vm_writev
  restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
  rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
  sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
  setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32
  setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid set_thread_area set_tid_address setuid setuid32 sigaction sigaltstack signal
  signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend sysinfo tgkill times tkill ugetrlimit uname vfork wait4 waitid waitpid arch_prctl modify_ldt
  set_tls cacheflush breakpoint riscv_flush_icache`
const timers = `adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64
  gettimeofday nanosleep time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
  timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64`
const events = `epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 io_cancel
  io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select`
const sockets = `accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto
  setsockopt shutdown socketcall socketpair pipe pipe2`
const ipc = `ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv
  msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget getrandom`

const always = words([files, memory, processes, timers, events, sockets, ipc].join(' '))

/** What a capability unlocks. */
const gated: Readonly<Record<string, readonly string[]>> = {
  CAP_DAC_READ_SEARCH: words('open_by_handle_at'),
  CAP_SYS_ADMIN: words(
    'bpf clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree perf_event_open pivot_root quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare',
  ),
  CAP_SYS_BOOT: words('reboot'),
  CAP_SYS_CHROOT: words('chroot'),
  CAP_SYS_MODULE: words('delete_module finit_module init_module'),
  CAP_SYS_PACCT: words('acct'),
  CAP_SYS_PTRACE: words('kcmp pidfd_getfd process_madvise'),
  CAP_SYS_RAWIO: words('ioperm iopl'),
  CAP_SYS_TIME: words('clock_settime clock_settime64 settimeofday stime'),
  CAP_SYS_TTY_CONFIG: words('vhangup'),
  CAP_SYS_NICE: words('migrate_pages move_pages'),
  CAP_SYSLOG: words('syslog'),
  CAP_BPF: words('bpf'),
  CAP_PERFMON: words('perf_event_open'),
}

function words(text: string): string[] {
  return text.trim().split(/\s+/)
}

/** clone(2) flags that make namespaces: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const namespaceFlags = 0x7e020000
const eperm = 1
const enosys = 38
/** AF_VSOCK reaches the hypervisor, past every network namespace. */
const afVsock = 40
/** Linux, Linux32, and both with UNAME26; and the query. */
const personalities = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff]

/** The filter for a container that holds `capabilities`. */
export function defaultSeccomp(capabilities: readonly string[], architecture: string): SeccompSpec {
  const held = new Set(capabilities)
  const allowed = new Set(always)
  for (const [capability, names] of Object.entries(gated)) if (held.has(capability)) for (const name of names) allowed.add(name)
  const refused = [...new Set(Object.values(gated).flat())].filter((name) => !allowed.has(name) && name !== 'clone3')
  const mayMakeNamespaces = held.has('CAP_SYS_ADMIN')
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: enosys,
    architectures: architecture === 'arm64' ? ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'] : ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
    syscalls: [
      { names: [...allowed], action: 'SCMP_ACT_ALLOW' },
      { names: refused, action: 'SCMP_ACT_ERRNO', errnoRet: eperm },
      ...personalities.map((value) => ({ names: ['personality'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }] })),
      { names: ['socket'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value: afVsock, op: 'SCMP_CMP_NE' }] },
      mayMakeNamespaces
        ? { names: ['clone'], action: 'SCMP_ACT_ALLOW' }
        : { names: ['clone'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value: namespaceFlags, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }] },
    ],
  }
}
