/**
 * Namespaces that live without any process: each is pinned by a bind mount of its file onto `pinAt` (namespaces(7)).
 * A container or pod joins them by path (`linux.namespaces[].path` of the OCI runtime spec).
 */

import type { IdMapping } from './id-mapping.ts'

export type NamespaceKind = 'net' | 'ipc' | 'uts'

export interface NamespacesRequest {
  /** Where each new namespace is pinned. The files are created; their folder must exist. A kind left out is not created. */
  readonly pinAt: Partial<Readonly<Record<NamespaceKind, string>>>
  /**
   * The user namespace that owns the new namespaces: a new one of this mapping, pinned too, or the one at a path. Absent: ours. Of the
   * others only `net` can be made for it. Takes some 5 ms, for a process has to be started in it.
   */
  readonly owner?: { readonly mapping: IdMapping; readonly pinAt: string } | { readonly path: string }
  /** Set inside the new UTS namespace (at most 64 bytes). */
  readonly hostname?: string
  /** Set inside the new namespaces, e.g. `{'net.ipv4.ip_unprivileged_port_start': '0', 'kernel.shm_rmid_forced': '1'}`. Dots or slashes. */
  readonly sysctls?: Readonly<Record<string, string>>
}

/** Faults: `alreadyExists` (something is pinned there already), `notFound` (no such folder), `resourceExhausted`, `invalidArgument` (unknown sysctl). */
export interface Namespaces {
  /** Creates the namespaces and pins them, all or nothing. In a new network namespace `lo` is up. About 0.5 ms. */
  create(request: NamespacesRequest): Promise<void>
  /** Unpins and removes the file. The kernel frees the namespace when its last process is gone. A missing pin is no error. */
  remove(path: string): Promise<void>
  /** True when `path` is a pinned namespace now (and not merely the empty file left by a reboot). */
  pinned(path: string): Promise<boolean>
}
