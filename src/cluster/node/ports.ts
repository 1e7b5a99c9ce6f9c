/**
 * What the node agent asks of the machine besides running containers: files below its own folder, and connections for probes
 * and hooks. `real/` answers with the kernel, `simulated/` in memory, so that the simulator runs the same agent.
 */

export interface TreeFile {
  readonly content: Buffer
  /** Permission bits, e.g. 0o644. */
  readonly mode: number
}

export type FileKind = 'file' | 'directory' | 'socket' | 'charDevice' | 'blockDevice' | 'other'

/** Paths are absolute. Faults: `notFound`, `conflict` (something else is in the way), `permissionDenied`, `internal`. */
export interface NodeFiles {
  /** Makes the folder and its parents. With `gid` the last one belongs to that group, set-gid and writable by it. */
  makeDirectory(path: string, options?: { readonly mode?: number; readonly gid?: number }): Promise<void>
  /** A file system in memory at `path`, unless one is mounted there already. */
  mountMemory(path: string, options: { readonly sizeBytes?: number; readonly gid?: number; readonly mode?: number }): Promise<void>
  /**
   * Makes the folder show exactly `files` (relative paths), switched over at once: a new dated folder is filled, then the
   * link `..data` is renamed onto the old one. A reader sees all of the old files or all of the new. True when something changed.
   */
  writeTree(path: string, files: ReadonlyMap<string, TreeFile>, options?: { readonly gid?: number }): Promise<boolean>
  /** Replaces the contents in place, so that a bind mount of the file sees them. */
  writeFile(path: string, content: string, mode?: number): Promise<void>
  /** The last `maxBytes` of a file; undefined when it is not there. */
  readEnd(path: string, maxBytes: number): Promise<Buffer | undefined>
  kindOf(path: string): Promise<FileKind | undefined>
  sizeOf(path: string): Promise<number | undefined>
  /** Renames `path` to the next of its rotated names and keeps at most `keep` of them. */
  rotate(path: string, keep: number): Promise<void>
  /** The path of `sub` below `root`, made as a folder when missing; `invalidArgument` when links in it would leave `root`. */
  subPath(root: string, sub: string): Promise<string>
  /** Unmounts whatever is mounted at or below `path`, then removes it. Nothing there is success. */
  removeTree(path: string): Promise<void>
  /** Only the unmounting: memory is given back, files stay. */
  unmountBelow(path: string): Promise<void>
  /** Names in a folder; empty when it is not there. */
  names(path: string): Promise<readonly string[]>
}

export interface HttpRequest {
  readonly scheme: 'HTTP' | 'HTTPS'
  readonly host: string
  readonly port: number
  readonly path: string
  readonly headers: readonly { readonly name: string; readonly value: string }[]
  readonly timeoutMs: number
}

/** Connections to pods. Certificates are not checked (probes ask for life, not for identity). */
export interface NodeNetwork {
  /** Redirects to the same host are followed. The body is cut off at 10 KiB. Rejects with `unavailable` or `timeout`. */
  httpGet(request: HttpRequest): Promise<{ readonly status: number; readonly body: string }>
  /** Opens and closes a TCP connection. */
  connect(target: { readonly host: string; readonly port: number; readonly timeoutMs: number }): Promise<void>
  /** grpc.health.v1.Health/Check; answers the serving status's number (1 = SERVING). */
  grpcHealth(target: { readonly host: string; readonly port: number; readonly service: string; readonly timeoutMs: number }): Promise<number>
}
