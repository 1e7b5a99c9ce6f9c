/**
 * Annotations that clients ask exporters for: `annotation.KEY`, `annotation-TYPE.KEY` and `annotation-TYPE[PLATFORM].KEY`
 * (moby/buildkit `docs/annotations.md`).
 */
import { Fault } from '#base/fault.ts'
import { parsePlatform, platformText } from '#oci/platform.ts'
import type { Attributes } from './options.ts'

type Pairs = Readonly<Record<string, string>>

export interface Annotations {
  /** Of the index, and of the descriptor that names it. */
  readonly index: Pairs
  readonly indexDescriptor: Pairs
  /** Of a platform's manifest, and of the descriptor that names it. */
  manifest(platform: string): Pairs
  manifestDescriptor(platform: string): Pairs
  /** Platforms that are named. */
  readonly platforms: readonly string[]
}

const types = ['index', 'index-descriptor', 'manifest', 'manifest-descriptor'] as const

interface Annotation {
  readonly type: (typeof types)[number]
  /** Undefined: of all. */
  readonly platform: string | undefined
  readonly key: string
  readonly value: string
}

export function annotationsOf(attributes: Attributes): Annotations {
  const all = [...attributes].flatMap(([name, value]) => annotationOf(name, value) ?? [])
  // What is said for one platform goes before what is said for all.
  const pick = (type: Annotation['type'], platform?: string): Pairs =>
    Object.fromEntries([undefined, platform].flatMap((place) => all.filter((each) => each.type === type && each.platform === place).map(({ key, value }) => [key, value])))
  return {
    index: pick('index'),
    indexDescriptor: pick('index-descriptor'),
    manifest: (platform) => pick('manifest', platform),
    manifestDescriptor: (platform) => pick('manifest-descriptor', platform),
    platforms: [...new Set(all.flatMap(({ platform }) => platform ?? []))],
  }
}

function annotationOf(name: string, value: string): Annotation | undefined {
  const match = /^annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)$/.exec(name)
  if (match === null) return undefined
  const [, said = 'manifest', platform, key = ''] = match
  const type = types.find((each) => each === said)
  if (type === undefined) throw new Fault('invalidArgument', `unrecognized annotation type ${said}`)
  const isOfIndex = type === 'index' || type === 'index-descriptor'
  return { type, platform: platform === undefined || isOfIndex ? undefined : platformText(parsePlatform(platform)), key, value }
}

export function hasAny(pairs: Pairs): boolean {
  return Object.keys(pairs).length > 0
}
