/** The one frontend, `dockerfile.v0`: from its attributes to a result that can be built, or to the answer of a call that builds nothing. */
import { Fault } from '#base/fault.ts'
import { hostPlatform, platformText } from '#oci/platform.ts'
import type { BuildAnswer, CacheExport, CacheImport } from '../contract/builds.ts'
import type { BuildRequest, EngineBackend } from '../http/backend.ts'
import { checkedDefinition, lentBy, type LoadedDefinition } from '../http/session-build.ts'
import type { Attributes } from '../exports/options.ts'
import { cacheImportsOf, isMultiPlatform, parseAttributes } from './attributes.ts'
import { contextOf, loadDefinition, namedContextsOf, type ContextSources } from './contexts.ts'
import { located } from './failure.ts'
import type { Job } from './job.ts'
import { FrontendResult } from './result.ts'
import type { TypedOptions } from './solve-request.ts'

export interface FrontendOptions {
  readonly id: string
  readonly backend: Pick<EngineBackend, 'images'> & { readonly builder: NonNullable<EngineBackend['builder']> }
  readonly attributes: Attributes
  readonly inputs: ContextSources['inputs']
  readonly imageOf: ContextSources['imageOf']
}

/** Reads the Dockerfile, so that what is wrong with it is told at once; builds when the result is asked for. */
export async function solveFrontend(job: Job, frontend: string, options: FrontendOptions): Promise<FrontendResult | BuildAnswer> {
  if (frontend !== 'dockerfile.v0') throw new Fault('unimplemented', frontend === '' ? 'LLB definitions are not supported: this engine builds Dockerfiles (frontend dockerfile.v0)' : `the frontend ${frontend} is not supported; expected dockerfile.v0`)
  const { attributes, inputs, imageOf, backend } = options
  const { signal } = job
  const asked = parseAttributes(attributes)
  const sources: ContextSources = { attributes, inputs, session: job.session, imageOf, signal }
  const loaded = await readDefinition(job, sources, asked.dockerfile)
  const definition = loaded === undefined ? undefined : checkedDefinition(loaded, asked.dockerfile)
  const explain = (error: unknown): unknown => (definition === undefined ? error : located(error, { file: asked.dockerfile, text: definition }))
  const { request: solve } = job
  const request = async (): Promise<BuildRequest> => ({
    ...asked,
    ...lentBy(await job.session(undefined), signal),
    context: await contextOf(sources, loaded?.ignore),
    namedContexts: await namedContextsOf(sources),
    ...(definition === undefined ? {} : { definition }),
    ...timesOf(solve.exporters),
    cacheFrom: await Promise.all(cacheImportsOf(attributes).map((each) => cacheImport(each, job))),
    cacheTo: await Promise.all(solve.cacheExports.map((each) => cacheExport(each, job))),
    entitlements: solve.entitlements.filter((each) => each === 'network.host' || each === 'security.insecure'),
    tags: [],
    quiet: false,
    squash: false,
    dialect: 'buildkit',
    remove: true,
    forceRemove: true,
    onMessage: job.tell,
    signal,
  })
  const { call = 'build' } = asked
  const platforms = isMultiPlatform(attributes) ? asked.platforms : []
  if (call === 'build') return new FrontendResult({ id: options.id, platforms, targets: asked.platforms.length === 0 ? [platformText(hostPlatform)] : asked.platforms, attributes, builder: backend.builder, images: backend.images, request, explain })
  try {
    const { answer } = await backend.builder.build(await request())
    if (answer === undefined) throw new Fault('unimplemented', `the builder has no answer to the call '${call}'`)
    return answer
  } catch (error) {
    throw explain(error)
  }
}

/** The files at an address, to be looked into. */
export function fetchedResult(job: Job, url: string, { id, backend }: Pick<FrontendOptions, 'id' | 'backend'>): FrontendResult {
  const { signal } = job
  const request = async (): Promise<BuildRequest> => ({
    ...parseAttributes(new Map()),
    ...lentBy(await job.session(undefined), signal),
    context: { kind: 'url', url },
    definition: 'FROM scratch\nCOPY . /\n',
    dialect: 'buildkit',
    cacheFrom: [],
    tags: [],
    quiet: false,
    squash: false,
    remove: true,
    forceRemove: true,
    onMessage: job.tell,
    signal,
  })
  return new FrontendResult({ id, platforms: [], targets: [], attributes: new Map(), builder: backend.builder, images: backend.images, request, explain: (error) => error })
}

function readDefinition(job: Job, sources: ContextSources, file: string): Promise<LoadedDefinition | undefined> {
  return job.vertices.during(`[internal] load build definition from ${file}`, async (vertex) => {
    const definition = await loadDefinition(sources)
    if (definition !== undefined) vertex.progress('transferring dockerfile:', 'transferring', { currentBytes: definition.transferredBytes, isDone: true })
    return definition
  })
}

/** What exporters say of an image's times; the frontend's own build argument is the builder's to read. */
function timesOf(exporters: readonly TypedOptions[]): Pick<BuildRequest, 'sourceDateEpochS' | 'rewriteTimestamps'> {
  const said = (name: string): string | undefined => exporters.map(({ attributes }) => attributes.get(name)).find((value) => value !== undefined && value !== '')
  const epoch = said('source-date-epoch')
  if (epoch !== undefined && !/^\d{1,15}$/.test(epoch)) throw new Fault('invalidArgument', `invalid source-date-epoch ${epoch}: expected seconds since 1970`)
  return { ...(epoch === undefined ? {} : { sourceDateEpochS: Number(epoch) }), ...(said('rewrite-timestamp') === 'true' ? { rewriteTimestamps: true } : {}) }
}

/** Caches elsewhere: of types that are not known here clients are told, as BuildKit tells them. */
async function cacheImport({ type, attributes }: TypedOptions, job: Job): Promise<CacheImport> {
  const said = (name: string): string => attributes.get(name) ?? ''
  if (type === 'registry' && said('ref') !== '') return { kind: 'registry', reference: said('ref') }
  if (type === 'local' && said('digest') !== '') return { kind: 'local', digest: said('digest'), blobs: (await job.session(undefined)).blobs(`local:${said('src')}`) }
  throw new Fault('unimplemented', `cache sources of type ${type} are not supported; expected registry with a ref, or local with a src`)
}

async function cacheExport({ type, attributes }: TypedOptions, job: Job): Promise<CacheExport> {
  const said = (name: string): string => attributes.get(name) ?? ''
  const mode = said('mode') === 'max' ? 'max' : 'min'
  if (type === 'inline') return { kind: 'inline' }
  if (type === 'registry' && said('ref') !== '') return { kind: 'registry', reference: said('ref'), mode }
  if (type === 'local' && said('dest') !== '') return { kind: 'local', blobs: (await job.session(undefined)).blobs(`local:${said('dest')}`), mode }
  throw new Fault('unimplemented', `cache destinations of type ${type} are not supported; expected inline, registry with a ref, or local with a dest`)
}
