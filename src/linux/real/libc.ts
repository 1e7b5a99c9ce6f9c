/**
 * The C library through koffi. Loaded by kernel workers only: every call blocks its thread. Numbers of system calls above
 * 423 are the same on every architecture.
 */
import { constants } from 'node:os'
import koffi from 'koffi'
import { errnoFault } from '../contract/errno.ts'

const library = koffi.load('libc.so.6')

type Pointer = Uint8Array | null

/** A C function that answers -1 and sets errno when it fails. */
type Call<A extends readonly unknown[]> = (...args: A) => number

function bind<A extends readonly unknown[]>(prototype: string): Call<A> {
  return library.func(prototype)
}

/** For functions that an older C library lacks. */
function bindOptional<A extends readonly unknown[]>(prototype: string): Call<A> | undefined {
  try {
    return bind(prototype)
  } catch {
    return undefined
  }
}

function bindSyscall<A extends readonly unknown[]>(number: number, types: readonly string[]): Call<A> {
  // Declared without the dots: on x86-64 and arm64 integers travel in the same registers either way.
  const call = library.func('syscall', 'long', ['long', ...types])
  return (...args) => call(number, ...args)
}

export const libc = {
  mount: bind<[source: string, target: string, type: string | null, flags: number, data: string | null]>('int mount(const char *s, const char *t, const char *f, unsigned long flags, const char *data)'),
  umount2: bind<[target: string, flags: number]>('int umount2(const char *t, int flags)'),
  unshare: bind<[flags: number]>('int unshare(int flags)'),
  setns: bind<[fd: number, kind: number]>('int setns(int fd, int nstype)'),
  chroot: bind<[path: string]>('int chroot(const char *p)'),
  fchdir: bind<[fd: number]>('int fchdir(int fd)'),
  chdir: bind<[path: string]>('int chdir(const char *p)'),
  sethostname: bind<[name: string, length: number]>('int sethostname(const char *n, size_t l)'),
  kill: bind<[pid: number, signal: number]>('int kill(int pid, int sig)'),
  close: bind<[fd: number]>('int close(int fd)'),
  lseek: bind<[fd: number, offset: number, whence: number]>('long lseek(int fd, long o, int w)'),
  memfdCreate: bind<[name: string, flags: number]>('int memfd_create(const char *name, unsigned int flags)'),
  pipe2: bind<[fds: Uint8Array, flags: number]>('int pipe2(uint8_t *fds, int flags)'),
  socket: bind<[family: number, type: number, protocol: number]>('int socket(int d, int t, int p)'),
  socketpair: bind<[family: number, type: number, protocol: number, fds: Uint8Array]>('int socketpair(int d, int t, int p, uint8_t *fds)'),
  bind: bind<[fd: number, address: Uint8Array, length: number]>('int bind(int fd, uint8_t *a, uint32_t l)'),
  getsockname: bind<[fd: number, address: Uint8Array, length: Uint8Array]>('int getsockname(int fd, uint8_t *a, uint8_t *l)'),
  connect: bind<[fd: number, address: Uint8Array, length: number]>('int connect(int fd, uint8_t *a, uint32_t l)'),
  setsockopt: bind<[fd: number, level: number, name: number, value: Uint8Array, length: number]>('int setsockopt(int fd, int l, int n, uint8_t *v, uint32_t s)'),
  shutdown: bind<[fd: number, how: number]>('int shutdown(int fd, int how)'),
  send: bind<[fd: number, data: Pointer, length: number, flags: number]>('long send(int fd, const uint8_t *b, size_t l, int flags)'),
  recv: bind<[fd: number, data: Pointer, length: number, flags: number]>('long recv(int fd, uint8_t *b, size_t l, int flags)'),
  read: bind<[fd: number, data: Pointer, length: number]>('long read(int fd, uint8_t *b, size_t l)'),
  write: bind<[fd: number, data: Pointer, length: number]>('long write(int fd, const uint8_t *b, size_t l)'),
  fcntl: bind<[fd: number, command: number, value: number]>('int fcntl(int fd, int c, int v)'),
  eventfd: bind<[value: number, flags: number]>('int eventfd(unsigned int v, int f)'),
  epollCreate: bind<[flags: number]>('int epoll_create1(int f)'),
  epollControl: bind<[epoll: number, operation: number, fd: number, event: Pointer]>('int epoll_ctl(int e, int op, int fd, uint8_t *ev)'),
  epollWait: bind<[epoll: number, events: Uint8Array, count: number, timeoutMs: number]>('int epoll_wait(int e, uint8_t *ev, int n, int t)'),
  waitid: bind<[kind: number, id: number, info: Uint8Array, options: number]>('int waitid(int k, uint32_t id, uint8_t *info, int o)'),
  pidfdSendSignal: bindSyscall<[fd: number, signal: number, info: null, flags: number]>(424, ['int', 'int', 'void *', 'unsigned int']),
  pidfdOpen: bindSyscall<[pid: number, flags: number]>(434, ['int', 'unsigned int']),
  openat2: bindSyscall<[folder: number, path: string, how: Uint8Array, size: number]>(437, ['int', 'const char *', 'uint8_t *', 'size_t']),
  moveMount: bindSyscall<[from: number, fromPath: string, to: number, toPath: string, flags: number]>(429, ['int', 'const char *', 'int', 'const char *', 'unsigned int']),
  openTree: bindSyscall<[folder: number, path: string, flags: number]>(428, ['int', 'const char *', 'unsigned int']),
  mountSetattr: bindSyscall<[folder: number, path: string, flags: number, attributes: Uint8Array, size: number]>(442, ['int', 'const char *', 'unsigned int', 'uint8_t *', 'size_t']),
  fsopen: bindSyscall<[type: string, flags: number]>(430, ['const char *', 'unsigned int']),
  fsconfig: bindSyscall<[fd: number, command: number, key: string | null, value: string | null, aux: number]>(431, ['int', 'unsigned int', 'const char *', 'const char *', 'int']),
  fsmount: bindSyscall<[fd: number, flags: number, attributes: number]>(432, ['int', 'unsigned int', 'unsigned int']),
}

/** malloc_trim(3), which only the GNU C library has. */
export const mallocTrim = bindOptional<[pad: number]>('int malloc_trim(size_t pad)')

/** posix_spawn(3) and its objects answer an error number instead of setting errno. */
export const spawnCalls = {
  spawn: bind<[pid: Uint8Array, path: string, actions: Uint8Array, attributes: Uint8Array, argv: readonly (string | null)[], env: readonly (string | null)[]]>(
    'int posix_spawn(uint8_t *pid, const char *path, uint8_t *fa, uint8_t *at, const char **argv, const char **envp)',
  ),
  actionsInit: bind<[actions: Uint8Array]>('int posix_spawn_file_actions_init(uint8_t *fa)'),
  actionsDestroy: bind<[actions: Uint8Array]>('int posix_spawn_file_actions_destroy(uint8_t *fa)'),
  actionsDup2: bind<[actions: Uint8Array, from: number, to: number]>('int posix_spawn_file_actions_adddup2(uint8_t *fa, int from, int to)'),
  actionsChdir: bind<[actions: Uint8Array, path: string]>('int posix_spawn_file_actions_addchdir_np(uint8_t *fa, const char *path)'),
  actionsCloseFrom: bindOptional<[actions: Uint8Array, from: number]>('int posix_spawn_file_actions_addclosefrom_np(uint8_t *fa, int from)'),
  attributesInit: bind<[attributes: Uint8Array]>('int posix_spawnattr_init(uint8_t *at)'),
  attributesDestroy: bind<[attributes: Uint8Array]>('int posix_spawnattr_destroy(uint8_t *at)'),
  attributesFlags: bind<[attributes: Uint8Array, flags: number]>('int posix_spawnattr_setflags(uint8_t *at, short flags)'),
  attributesMask: bind<[attributes: Uint8Array, set: Uint8Array]>('int posix_spawnattr_setsigmask(uint8_t *at, uint8_t *set)'),
  attributesDefault: bind<[attributes: Uint8Array, set: Uint8Array]>('int posix_spawnattr_setsigdefault(uint8_t *at, uint8_t *set)'),
}

/** Two numbers have two names each; these are the ones that Node itself uses. */
const secondNames = new Set(['EWOULDBLOCK', 'EOPNOTSUPP'])
const names = new Map<number, string>(Object.entries(constants.errno).flatMap(([name, number]) => (secondNames.has(name) ? [] : [[number, name]])))

/** `EBUSY` for 16. */
export function errnoName(number: number): string {
  return names.get(number) ?? `errno ${number}`
}

/** Name of the error the last call of this thread ended with. */
export function lastErrno(): string {
  return errnoName(koffi.errno())
}

/** The call's answer; a Fault naming `what` when it failed. */
export function check(result: number, what: string): number {
  if (result >= 0) return result
  throw errnoFault(lastErrno(), what)
}

export const CLONE_FS = 0x200
export const namespaceFlags = { net: 0x40000000, ipc: 0x08000000, uts: 0x04000000 } as const
export const O_CLOEXEC = 0o2000000
export const O_NONBLOCK = 0o4000
