/**
 * SLSA provenance of a build, as BuildKit writes it: version 1 and 0.2 (https://slsa.dev/provenance/v1, moby/buildkit
 * `docs/attestations/slsa-definitions.md`). A build here is made of a Dockerfile and not of LLB, so that `max` tells the Dockerfile and all
 * that was asked, and no LLB definition.
 */
import { rfc3339Nano } from '#base/clock.ts'
import type { BuildMaterial, BuildOrigin } from '../contract/builds.ts'
import type { Attestation, ProvenanceWish } from './attestations.ts'
import type { Attributes } from './options.ts'
import { imagePurl } from './purl.ts'

export interface ProvenanceFacts extends BuildOrigin {
  readonly invocationId: string
  readonly startedNs: bigint
  readonly finishedNs: bigint
  /** The frontend's. */
  readonly attributes: Attributes
  /** Of this machine. */
  readonly builderPlatform: string
}

type Digests = Readonly<Record<string, string>>

export function provenance(facts: ProvenanceFacts, wish: ProvenanceWish): Attestation {
  const predicate = wish.version === 'v1' ? predicate1(facts, wish) : predicate02(facts, wish)
  return { predicateType: wish.version === 'v1' ? 'https://slsa.dev/provenance/v1' : 'https://slsa.dev/provenance/v0.2', predicate, fileName: 'provenance.json' }
}

function predicate1(facts: ProvenanceFacts, wish: ProvenanceWish): object {
  const { source, request, isComplete } = requestOf(facts, wish)
  const dependencies = facts.materials.flatMap((material) => resource(material) ?? [])
  return {
    buildDefinition: {
      buildType: 'https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md',
      ...(dependencies.length === 0 ? {} : { resolvedDependencies: dependencies }),
      externalParameters: { configSource: source, request },
      internalParameters: { builderPlatform: facts.builderPlatform },
    },
    runDetails: {
      builder: { id: wish.builderId },
      metadata: {
        invocationId: facts.invocationId,
        startedOn: rfc3339Nano(facts.startedNs),
        finishedOn: rfc3339Nano(facts.finishedNs),
        buildkit_metadata: buildMetadata(facts, wish),
        buildkit_completeness: { request: isComplete, resolvedDependencies: localsOf(facts.attributes).length === 0 },
        ...(wish.isReproducible ? { buildkit_reproducible: true } : {}),
      },
    },
  }
}

function predicate02(facts: ProvenanceFacts, wish: ProvenanceWish): object {
  const { source: { path, ...source }, request, isComplete } = requestOf(facts, wish)
  const materials = facts.materials.flatMap((material) => resource(material) ?? [])
  return {
    builder: { id: wish.builderId },
    buildType: 'https://mobyproject.org/buildkit@v1',
    ...(materials.length === 0 ? {} : { materials }),
    invocation: { configSource: { ...source, ...(path === undefined ? {} : { entryPoint: path }) }, parameters: request, environment: { platform: facts.builderPlatform } },
    metadata: {
      buildInvocationID: facts.invocationId,
      buildStartedOn: rfc3339Nano(facts.startedNs),
      buildFinishedOn: rfc3339Nano(facts.finishedNs),
      completeness: { parameters: isComplete, environment: true, materials: localsOf(facts.attributes).length === 0 },
      reproducible: wish.isReproducible,
      'https://mobyproject.org/buildkit@v1#metadata': buildMetadata(facts, wish),
    },
  }
}

interface Request {
  readonly source: { readonly uri?: string; readonly digest?: Digests; readonly path?: string }
  readonly request: object
  /** Nothing of what was asked is left out. */
  readonly isComplete: boolean
}

/** What says where and how something is built, and not what. */
const hostArguments: readonly string[] = ['cgroup-parent', 'image-resolve-mode', 'platform', 'cache-imports']

function requestOf({ attributes, materials }: ProvenanceFacts, { mode }: ProvenanceWish): Request {
  const context = attributes.get('context')
  const told = [...attributes].filter(([name]) => !hostArguments.includes(name) && !/^(attest|vcs|local-sessionid):/.test(name) && name !== 'filename' && name !== 'context')
  const args = mode === 'max' ? told : told.filter(([name]) => !/^(build-arg|label):/.test(name))
  const fetched = context === undefined ? undefined : materials.find((material) => (material.kind === 'git' || material.kind === 'url') && material.isContext)
  const locals = localsOf(attributes).map((name) => ({ name }))
  return {
    source: {
      ...(context === undefined ? {} : { uri: withoutCredentials(context) }),
      ...(fetched === undefined ? {} : resource(fetched)),
      path: attributes.get('filename') || 'Dockerfile',
    },
    request: { frontend: 'dockerfile.v0', ...(args.length === 0 ? {} : { args: Object.fromEntries(args.map(([name, value]) => [name, withoutCredentials(value)])) }), ...loansOf(materials, mode), ...(locals.length === 0 ? {} : { locals }) },
    isComplete: args.length === told.length,
  }
}

/** Folders of the client's: nobody else can look into them later. */
function localsOf(attributes: Attributes): readonly string[] {
  const named = [...attributes].flatMap(([name, value]) => (name.startsWith('context:') && value.startsWith('local:') ? [value.slice('local:'.length).replace(/^\/\//, '')] : []))
  const main = attributes.has('context') ? [] : [attributes.get('contextkey') ?? 'context']
  const dockerfile = attributes.has('context') && !attributes.has('dockerfilekey') ? [] : [attributes.get('dockerfilekey') ?? 'dockerfile']
  return [...new Set([...main, ...dockerfile, ...named])].toSorted()
}

/** By their ids what else a client lent. */
function loansOf(materials: readonly BuildMaterial[], mode: ProvenanceWish['mode']): Readonly<Record<string, object>> {
  if (mode === 'min') return {}
  const lent = (kind: 'secret' | 'ssh'): readonly object[] => materials.flatMap((material) => (material.kind === kind ? [{ id: material.id, ...(material.isOptional ? { optional: true } : {}) }] : []))
  const [secrets, ssh] = [lent('secret'), lent('ssh')]
  return { ...(secrets.length === 0 ? {} : { secrets }), ...(ssh.length === 0 ? {} : { ssh }) }
}

/** Undefined: it is none that others could fetch. */
function resource(material: BuildMaterial): { readonly uri: string; readonly digest?: Digests } | undefined {
  const known = (algorithm: string, digest: string | undefined): { readonly digest?: Digests } => (digest === undefined ? {} : { digest: { [algorithm]: digest.replace(/^sha256:/, '') } })
  switch (material.kind) {
    case 'image':
      return { uri: imagePurl(material.reference, material.platform), ...known('sha256', material.digest) }
    case 'git':
      return { uri: withoutCredentials(material.url), ...known(material.commit?.length === 64 ? 'sha256' : 'sha1', material.commit) }
    case 'url':
      return { uri: withoutCredentials(material.url), ...known('sha256', material.sha256) }
    case 'secret':
    case 'ssh':
      return undefined
  }
}

function buildMetadata({ attributes, dockerfile }: ProvenanceFacts, { mode }: ProvenanceWish): object {
  const vcs = Object.fromEntries([...attributes].flatMap(([name, value]) => (name.startsWith('vcs:') && value !== '' ? [[name.slice('vcs:'.length), withoutCredentials(value)]] : [])))
  const infos = [{ filename: dockerfile.file, language: 'Dockerfile', data: Buffer.from(dockerfile.text).toString('base64') }]
  return { ...(Object.keys(vcs).length === 0 ? {} : { vcs }), ...(mode === 'min' ? {} : { source: { infos } }) }
}

/** An address as it may be told to everybody. */
function withoutCredentials(text: string): string {
  return text.replace(/^([a-z+]+:\/\/)[^/@]*@/i, '$1xxxxx:xxxxx@')
}
