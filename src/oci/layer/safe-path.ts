/** Names of archive entries, made safe: relative, without `.` and `..`, never the way out of the root. */
import { archiveFault } from './entry.ts'

const slash = 0x2f
const dot = 0x2e

/** The components of an entry's name; none for the root itself (`.`, `./`). Absolute names and `..` are refused. */
export function safeComponents(path: Buffer, what = 'name'): Buffer[] {
  if (path.includes(0)) throw archiveFault(`its ${what} holds a NUL byte`, path)
  if (path[0] === slash) throw archiveFault(`its ${what} is absolute: expected one relative to the root of the archive`, path)
  const components: Buffer[] = []
  for (const component of split(path)) {
    if (component.length === 0 || isDots(component, 1)) continue
    if (isDots(component, 2)) throw archiveFault(`its ${what} contains '..' and could leave the root of the archive`, path)
    if (component.length > 255) throw archiveFault(`a component of its ${what} is longer than 255 bytes`, path)
    components.push(component)
  }
  return components
}

/** A relative symlink that climbs above the root of the archive is refused; absolute targets are data of the container's root. */
export function checkSymlink(components: readonly Buffer[], target: Buffer, path: Buffer): void {
  if (target.length === 0 || target.includes(0)) throw archiveFault('a symlink needs a target without NUL bytes', path)
  if (target[0] === slash) return
  let depth = components.length - 1
  for (const component of split(target)) {
    if (component.length === 0 || isDots(component, 1)) continue
    depth += isDots(component, 2) ? -1 : 1
    if (depth < 0) throw archiveFault(`the symlink target '${target.toString('utf8').slice(0, 200)}' leads out of the root of the archive`, path)
  }
}

function isDots(component: Buffer, count: number): boolean {
  return component.length === count && component.every((byte) => byte === dot)
}

function split(path: Buffer): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0; at <= path.length; ) {
    const next = path.indexOf(slash, at)
    const end = next < 0 ? path.length : next
    parts.push(path.subarray(at, end))
    at = end + 1
  }
  return parts
}

export function joinComponents(components: readonly Buffer[]): Buffer {
  return Buffer.concat(components.flatMap((component, index) => (index === 0 ? [component] : [slashBytes, component])))
}

const slashBytes = Buffer.from('/')
