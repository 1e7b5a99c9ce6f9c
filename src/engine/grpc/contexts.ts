/**
 * Where a build of BuildKit's clients has its Dockerfile and its contexts from (moby/buildkit `frontend/dockerui/context.go`,
 * `namedcontext.go`): folders of the client's, uploads, URLs, images, results of other builds.
 */
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import type { ProtoMessage } from '#base/proto-wire.ts'
import type { BuildContext, NamedContext } from '../contract/builds.ts'
import type { BuildRequest } from '../http/backend.ts'
import { clientFolder, definitionOfFolder, folderContext, folderTar, ignoreOfFolder, type ClientFolder, type LoadedDefinition } from '../http/session-build.ts'
import type { Session } from '../session/client-session.ts'
import type { Attributes } from '../exports/options.ts'
import { resultIdOf } from './definitions.ts'

export interface ContextSources {
  readonly attributes: Attributes
  /** LLB definitions by name. */
  readonly inputs: ReadonlyMap<string, ProtoMessage>
  /** The session of that id; of the client that asks where there is none. */
  readonly session: (id: string | undefined) => Promise<Session>
  /** The image of another build's result. */
  readonly imageOf: (resultId: string) => Promise<string>
  readonly signal: AbortSignal
}

const namedPrefix = 'context:'
const uploadHost = 'buildkit-session'

/** The Dockerfile, where it does not come with the context. */
export async function loadDefinition(sources: ContextSources): Promise<LoadedDefinition | undefined> {
  const { attributes, signal } = sources
  refuseInputs(sources)
  const key = attributes.get('dockerfilekey')
  if (attributes.has('context') && key === undefined) return undefined
  const file = attributes.get('filename') || 'Dockerfile'
  return definitionOfFolder(await localFolder(sources, key ?? 'dockerfile'), file, signal)
}

/** `own`: the ignore file beside the Dockerfile. */
export async function contextOf(sources: ContextSources, own: string | undefined): Promise<BuildContext> {
  const { attributes, session, signal } = sources
  const url = attributes.get('context')
  if (url === undefined) return folderContext(await localFolder(sources, attributes.get('contextkey') ?? 'context'), own, signal)
  if (!URL.canParse(url) || new URL(url).host !== uploadHost) return { kind: 'url', url }
  const client = await session(undefined)
  return { kind: 'archive', tar: Readable.from(client.upload(new URL(url), signal), { objectMode: false }) }
}

export async function namedContextsOf(sources: ContextSources): Promise<NonNullable<BuildRequest['namedContexts']>> {
  const named = new Map<string, NamedContext>()
  for (const [name, value] of sources.attributes) if (name.startsWith(namedPrefix)) named.set(name.slice(namedPrefix.length).toLowerCase(), await namedContext(sources, value))
  return named
}

async function namedContext(sources: ContextSources, value: string): Promise<NamedContext> {
  const [, scheme, rest = ''] = /^([a-z-]+):(.*)$/.exec(value) ?? []
  switch (scheme) {
    case 'docker-image':
      return { kind: 'image', reference: rest.replace(/^\/\//, '') }
    case 'local': {
      const folder = await localFolder(sources, rest.replace(/^\/\//, ''))
      return { kind: 'folder', tar: (paths, signal) => ignoredFolder(folder, paths, signal) }
    }
    case 'input': {
      const input = sources.inputs.get(rest)
      if (input === undefined) throw new Fault('invalidArgument', `invalid input ${rest} for a named context: no definition of that name came with the build`)
      return { kind: 'built', imageId: await sources.imageOf(resultIdOf(input)) }
    }
    case 'oci-layout':
      return { kind: 'layout', reference: rest.replace(/^\/\//, '') }
    default:
      return { kind: 'url', url: value }
  }
}

async function* ignoredFolder(folder: ClientFolder, paths: readonly string[] | undefined, signal: AbortSignal): AsyncGenerator<Buffer> {
  yield* folderTar(folder, await ignoreOfFolder(folder, signal))(paths, signal)
}

async function localFolder({ attributes, session }: ContextSources, name: string): Promise<ClientFolder> {
  return clientFolder(await session(attributes.get(`local-sessionid:${name}`)), name)
}

/** A main context or a Dockerfile as a definition: what clients make of git and HTTP sources of their own. */
function refuseInputs({ inputs }: ContextSources): void {
  for (const name of ['context', 'dockerfile']) {
    const input = inputs.get(name)
    if (input !== undefined) resultIdOf(input)
  }
}
