/**
 * Read your own writes over a lagging cache. A controller notes the version its last write for a key got; until the
 * cache has reached that version, a decision for the key would be made on a world in which the write did not happen
 * (and, say, create the same pods twice). Upstream counts expected events instead ("expectations"); comparing versions
 * needs no timeout and cannot miscount. Versions are decimal store revisions (kubernetes KEP-5504, comparable
 * resourceVersions).
 */
import type { StoredObject } from '#schema/kind.ts'

function asRevision(resourceVersion: string | undefined): bigint {
  return resourceVersion !== undefined && /^\d+$/.test(resourceVersion) ? BigInt(resourceVersion) : 0n
}

export class WriteFence {
  readonly #versions = new Map<string, bigint>()

  /** `written` is what the server answered to a write made for `key`. */
  wrote(key: string, written: StoredObject): void {
    const version = asRevision(written.metadata.resourceVersion)
    if (version > (this.#versions.get(key) ?? 0n)) this.#versions.set(key, version)
  }

  /** True while a cache at `resourceVersion` does not yet show the last write for `key`. */
  isBehind(key: string, resourceVersion: string): boolean {
    const version = this.#versions.get(key)
    if (version === undefined) return false
    if (asRevision(resourceVersion) < version) return true
    this.#versions.delete(key)
    return false
  }

  forget(key: string): void {
    this.#versions.delete(key)
  }
}
