/** Looks at the files of an instance at rest: whatever a record names is there and whole, and nothing half-made lies about. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { chainIdsOf } from '../../../src/engine/snapshots/chain.ts'

interface Layer {
  readonly digest: string
  readonly sizeBytes: number
}

interface ImageRecord {
  readonly id: string
  readonly manifestDigest?: string
  readonly layers: readonly Layer[]
  readonly compressed?: readonly Layer[]
}

interface Named {
  readonly id: string
  readonly target?: { readonly digest: string; readonly size: number }
}

/** How long deletions in the background may take. */
const restWithinMs = 15_000

export class StoreCheck {
  readonly #blobs: string
  readonly #engine: string
  /** Blobs whose bytes were hashed already: they never change. */
  readonly #hashed = new Set<string>()

  constructor(root: string) {
    this.#blobs = join(root, 'state/blobs')
    this.#engine = join(root, 'state/engine')
  }

  /** What is wrong; waits for what is being cleared away. */
  async problems(): Promise<string[]> {
    const deadline = performance.now() + restWithinMs
    for (;;) {
      const found = [...this.#images(), ...this.#snapshots(), ...this.#wrongBlobs()]
      if (found.length === 0 || performance.now() > deadline) return found
      await delay(100)
    }
  }

  /** Half-written blobs are kept for a day, to be gone on with: here the day is over. */
  letADayPass(): void {
    const folder = join(this.#blobs, 'ingests')
    for (const name of readdirSync(folder)) utimesSync(join(folder, name), new Date(0), new Date(0))
  }

  /** Bytes of the layers that images have, each once, as the records of the layers say. */
  layerBytes(): number {
    const sizes = new Map(this.#list('snapshots', 'l').filter((name) => name.endsWith('.json')).map((name) => {
      const { diffId, sizeBytes } = this.#read<{ diffId: string; sizeBytes: number }>('snapshots/l', name)
      return [diffId, sizeBytes]
    }))
    const used = new Set(this.#list('images', 'i').flatMap((file) => {
      const config: { readonly rootfs: { readonly diff_ids: readonly string[] } } = JSON.parse(readFileSync(this.#path(this.#read<ImageRecord>('images/i', file).id), 'utf8'))
      return config.rootfs.diff_ids
    }))
    return [...used].reduce((sum, diffId) => sum + (sizes.get(diffId) ?? 0), 0)
  }

  blobs(): readonly string[] {
    return readdirSync(join(this.#blobs, 'blobs/sha256'))
  }

  /** What is left when nothing should be: paths below the state folder. `mayStay` tells of a blob that somebody else names. */
  leftovers(mayStay: (digest: string) => boolean): string[] {
    return [
      ...this.blobs().filter((hex) => !mayStay(`sha256:${hex}`)).map((hex) => `blob ${hex}`),
      ...readdirSync(join(this.#blobs, 'ingests')).map((name) => `ingest ${name}`),
      ...['l', 'c', 't', 'a', 'm', 'i'].flatMap((place) => this.#list('snapshots', place).map((name) => `snapshots/${place}/${name}`)),
      ...this.#list('images', 'i').map((name) => `images/i/${name}`),
    ]
  }

  #list(...path: readonly string[]): string[] {
    const folder = join(this.#engine, ...path)
    return existsSync(folder) ? readdirSync(folder) : []
  }

  #read<T>(...path: readonly string[]): T {
    return JSON.parse(readFileSync(join(this.#engine, ...path), 'utf8'))
  }

  #images(): string[] {
    const problems: string[] = []
    const files = this.#list('images', 'i')
    const ids = new Set<string>()
    for (const file of files) {
      if (!file.endsWith('.json')) {
        problems.push(`images/i/${file} is no record`)
        continue
      }
      const record = this.#read<ImageRecord>('images/i', file)
      ids.add(record.id)
      const named = [record.id, ...(record.manifestDigest === undefined ? [] : [record.manifestDigest])]
      for (const digest of named) if (this.#sizeOf(digest) === undefined) problems.push(`image ${record.id.slice(7, 19)} needs blob ${digest}, which is not here`)
      for (const { digest, sizeBytes } of [...record.layers, ...(record.compressed ?? [])]) {
        if (this.#sizeOf(digest) !== sizeBytes) problems.push(`image ${record.id.slice(7, 19)} needs layer ${digest} of ${sizeBytes} bytes: ${this.#sizeOf(digest) ?? 'not here'}`)
      }
      problems.push(...this.#missingStacks(record))
    }
    for (const [name, { id, target }] of Object.entries(this.#names())) {
      if (!ids.has(id)) problems.push(`name ${name} leads to ${id}, which is no image`)
      if (target !== undefined && this.#sizeOf(target.digest) !== target.size) problems.push(`name ${name} stands for ${target.digest} of ${target.size} bytes: ${this.#sizeOf(target.digest) ?? 'not here'}`)
      else if (target !== undefined && !this.#holds(target.digest, id)) problems.push(`name ${name} means ${id}, of which ${target.digest} has no manifest here`)
    }
    return problems
  }

  /** Whether a manifest of this image is here, and can be reached from the index (or is the manifest itself). Other parts may be absent. */
  #holds(digest: string, id: string): boolean {
    if (this.#sizeOf(digest) === undefined) return false
    const { config, manifests = [] }: { readonly config?: { readonly digest: string }; readonly manifests?: readonly { readonly digest: string }[] } = JSON.parse(readFileSync(this.#path(digest), 'utf8'))
    return config?.digest === id || manifests.some((part) => this.#holds(part.digest, id))
  }

  #names(): Readonly<Record<string, Named>> {
    return existsSync(join(this.#engine, 'images/names.json')) ? this.#read<{ readonly names: Readonly<Record<string, Named>> }>('images/names.json').names : {}
  }

  #missingStacks(record: ImageRecord): string[] {
    if (this.#sizeOf(record.id) === undefined) return []
    const config: { readonly rootfs: { readonly diff_ids: readonly string[] } } = JSON.parse(readFileSync(this.#path(record.id), 'utf8'))
    return chainIdsOf(config).filter((chainId) => !existsSync(join(this.#engine, 'snapshots/c', `${chainId.replace(':', '-')}.json`))).map((chainId) => `image ${record.id.slice(7, 19)} needs the stack ${chainId}, which is not unpacked`)
  }

  #snapshots(): string[] {
    const layers = new Map<string, string>()
    const problems = ['t', 'm', 'a'].flatMap((place) => this.#list('snapshots', place).map((name) => `snapshots/${place}/${name} is left`))
    const names = new Set(this.#list('snapshots', 'l'))
    for (const file of [...names].filter((name) => name.endsWith('.json'))) {
      const { diffId, form } = this.#read<{ diffId: string; form?: string }>('snapshots/l', file)
      const stem = file.slice(0, -'.json'.length)
      layers.set(diffId, stem)
      const content = form === 'erofs' ? `${stem}.erofs` : stem
      if (!names.has(content)) problems.push(`layer ${diffId} has no content`)
      for (const part of [file, content, stem]) names.delete(part)
    }
    for (const orphan of names) problems.push(`snapshots/l/${orphan} belongs to no layer`)
    for (const file of this.#list('snapshots', 'c')) {
      if (!file.endsWith('.json')) problems.push(`snapshots/c/${file} is no record`)
      else if (!layers.has(this.#read<{ diffId: string }>('snapshots/c', file).diffId)) problems.push(`the stack ${file} has no layer`)
    }
    return problems
  }

  #wrongBlobs(): string[] {
    const fresh = this.blobs().filter((hex) => !this.#hashed.has(hex))
    const wrong = fresh.filter((hex) => createHash('sha256').update(readFileSync(this.#path(`sha256:${hex}`))).digest('hex') !== hex)
    for (const hex of fresh) this.#hashed.add(hex)
    return wrong.map((hex) => `blob ${hex} holds other bytes`)
  }

  #path(digest: string): string {
    return join(this.#blobs, 'blobs/sha256', digest.slice('sha256:'.length))
  }

  #sizeOf(digest: string): number | undefined {
    return existsSync(this.#path(digest)) ? statSync(this.#path(digest)).size : undefined
  }
}
