/** How the kernel's refusals become Faults. The kernel's word stays in `details.errno`. */
import { Fault, type FaultCode } from '#base/fault.ts'

const codes: Readonly<Record<string, FaultCode>> = {
  ENOENT: 'notFound',
  ENODEV: 'notFound',
  ENXIO: 'notFound',
  ESRCH: 'notFound',
  ENOTDIR: 'notFound',
  EEXIST: 'alreadyExists',
  EPERM: 'permissionDenied',
  EACCES: 'permissionDenied',
  EROFS: 'permissionDenied',
  EBUSY: 'conflict',
  ENOTEMPTY: 'conflict',
  EINVAL: 'invalidArgument',
  ENAMETOOLONG: 'invalidArgument',
  ERANGE: 'invalidArgument',
  ENOEXEC: 'invalidArgument',
  ELOOP: 'invalidArgument',
  EADDRNOTAVAIL: 'invalidArgument',
  ENETUNREACH: 'invalidArgument',
  ENOSPC: 'resourceExhausted',
  EDQUOT: 'resourceExhausted',
  EMFILE: 'resourceExhausted',
  ENFILE: 'resourceExhausted',
  ENOMEM: 'resourceExhausted',
  EAGAIN: 'resourceExhausted',
  ECONNREFUSED: 'unavailable',
  ETIMEDOUT: 'timeout',
  EINTR: 'canceled',
  ENOSYS: 'unimplemented',
  ENOTSUP: 'unimplemented',
  EOPNOTSUPP: 'unimplemented',
  EADDRINUSE: 'conflict',
}

/** `what` says what was tried and on what, e.g. `mount overlay on /x`. */
export function errnoFault(errno: string, what: string): Fault {
  return new Fault(codes[errno] ?? 'internal', `${what}: ${errno}`, { details: { errno } })
}

/** The kernel's word for why, when `error` came from the kernel. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Fault)) return undefined
  const errno = error.details['errno']
  return typeof errno === 'string' ? errno : undefined
}
