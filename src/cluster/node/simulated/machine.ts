/** `NodeFiles` and `NodeNetwork` in memory: for tests of the node agent and for the simulator. */
import { Fault } from '#base/fault.ts'
import type { HttpRequest, NodeFiles, NodeNetwork, TreeFile } from '../ports.ts'

export interface SimulatedFiles extends NodeFiles {
  /** Contents by absolute path; files of volumes appear as `VOLUME/NAME`. */
  readonly contents: Map<string, Buffer>
  readonly folders: Set<string>
  text(path: string): string | undefined
}

export function simulatedFiles(): SimulatedFiles {
  const contents = new Map<string, Buffer>()
  const folders = new Set<string>()
  const below = (path: string) => (each: string) => each === path || each.startsWith(`${path}/`)
  return {
    contents,
    folders,
    text: (path) => contents.get(path)?.toString('utf8'),
    async makeDirectory(path) {
      folders.add(path)
    },
    async mountMemory(path) {
      folders.add(path)
    },
    async writeTree(path, files: ReadonlyMap<string, TreeFile>) {
      folders.add(path)
      const old = [...contents.keys()].filter((each) => each.startsWith(`${path}/`))
      const same = old.length === files.size && [...files].every(([name, { content }]) => contents.get(`${path}/${name}`)?.equals(content) === true)
      if (same) return false
      for (const each of old) contents.delete(each)
      for (const [name, { content }] of files) contents.set(`${path}/${name}`, content)
      return true
    },
    async writeFile(path, content) {
      contents.set(path, Buffer.from(content, 'utf8'))
    },
    async readEnd(path, maxBytes) {
      return contents.get(path)?.subarray(-maxBytes)
    },
    async kindOf(path) {
      return folders.has(path) ? 'directory' : contents.has(path) ? 'file' : undefined
    },
    async sizeOf(path) {
      return contents.get(path)?.length
    },
    async rotate(path) {
      const old = contents.get(path)
      if (old !== undefined) contents.set(`${path}.1`, old)
      contents.delete(path)
    },
    async subPath(root, sub) {
      if (sub.split('/').includes('..')) throw new Fault('invalidArgument', `subPath '${sub}' must not contain '..'`)
      return `${root}/${sub}`
    },
    async removeTree(path) {
      for (const each of [...contents.keys()].filter(below(path))) contents.delete(each)
      for (const each of [...folders].filter(below(path))) folders.delete(each)
    },
    async unmountBelow() {
      // Nothing is mounted in memory.
    },
    async names(path) {
      return [...new Set([...contents.keys(), ...folders].filter((each) => each.startsWith(`${path}/`)).map((each) => each.slice(path.length + 1).split('/')[0] ?? ''))]
    },
  }
}

/** Answers HTTP probes by a function; connections succeed unless `refuses` says no. */
export function simulatedNetwork(options: { readonly http?: (request: HttpRequest) => number; readonly refuses?: (host: string, port: number) => boolean } = {}): NodeNetwork {
  return {
    async httpGet(request) {
      if (options.refuses?.(request.host, request.port) === true) throw new Fault('unavailable', `dial tcp ${request.host}:${request.port}: connection refused`)
      return { status: options.http?.(request) ?? 200, body: 'ok' }
    },
    async connect({ host, port }) {
      if (options.refuses?.(host, port) === true) throw new Fault('unavailable', `dial tcp ${host}:${port}: connection refused`)
    },
    async grpcHealth({ host, port }) {
      return options.refuses?.(host, port) === true ? 2 : 1
    },
  }
}
