/** What a build of BuildKit's clients takes from their session instead of from its request: Dockerfile, context, credentials, secrets. */
import { Fault } from '#base/fault.ts'
import { ignorePatterns } from '#base/path-patterns.ts'
import { readTar } from '#oci/layer/reader.ts'
import { filesOfAll, tarOfAll, type PlatformFolders } from '../build/platform-files.ts'
import type { BuildContext, FolderTar } from '../contract/builds.ts'
import type { Session } from '../session/client-session.ts'
import type { BuildRequest } from './backend.ts'
import type { JsonInput } from './json-input.ts'

export type BuildSource = Pick<BuildRequest, 'context' | 'definition' | 'credentials' | 'loans'>

/** Of a Dockerfile or an ignore file. */
const maxTextBytes = 16 << 20

/** A folder that a client lends, by the name that it has for it. */
export interface ClientFolder {
  readonly session: Session
  readonly name: string
}

export function clientFolder(session: Session, name: string): ClientFolder {
  return { session, name }
}

export interface LoadedDefinition {
  /** Undefined: there is no such file. */
  readonly text: string | undefined
  /** Of the ignore file beside it; undefined: there is none. */
  readonly ignore: string | undefined
  readonly transferredBytes: number
}

export async function definitionOfFolder({ session, name }: ClientFolder, dockerfile: string, signal: AbortSignal): Promise<LoadedDefinition> {
  const follow = [dockerfile, `${dockerfile}.dockerignore`]
  const texts = await textsOf(session.files({ folder: name, follow }, signal))
  const transferredBytes = [...texts.values()].reduce((sum, each) => sum + Buffer.byteLength(each), 0)
  return { text: texts.get(dockerfile), ignore: texts.get(follow[1] ?? ''), transferredBytes }
}

/** Refuses a Dockerfile that says nothing, or is none. */
export function checkedDefinition({ text }: LoadedDefinition, dockerfile: string): string {
  if (text === undefined) throw new Fault('invalidArgument', `failed to read dockerfile: open ${dockerfile}: no such file or directory`)
  if (text.trim() === '') throw new Fault('invalidArgument', `the Dockerfile (${dockerfile}) cannot be empty`)
  return text
}

/** The text of a folder's own ignore file; empty where there is none. */
export async function ignoreOfFolder({ session, name }: ClientFolder, signal: AbortSignal): Promise<string> {
  const file = '.dockerignore'
  return (await textsOf(session.files({ folder: name, follow: [file] }, signal))).get(file) ?? ''
}

/** A folder's files as tars, without what is ignored. */
export function folderTar({ session, name }: ClientFolder, ignore: string): FolderTar {
  return (paths, signal, isKept) => session.files({ folder: name, exclude: ignorePatterns(ignore), ...(paths === undefined ? {} : { follow: paths }) }, signal, isKept)
}

/** A folder as the main context; `own`: the ignore file beside the Dockerfile. */
export async function folderContext(folder: ClientFolder, own: string | undefined, signal: AbortSignal): Promise<BuildContext> {
  const ignore = own ?? (await ignoreOfFolder(folder, signal))
  const { sharedKey } = folder.session
  return { kind: 'folder', tar: folderTar(folder, ignore), ignore, ...(sharedKey === '' ? {} : { keptAs: `${folder.name} ${sharedKey}` }) }
}

/** The client's folders `dockerfile` and `context`. */
export async function sourceOfSession(session: Session, dockerfile: string, signal: AbortSignal): Promise<Pick<BuildSource, 'context' | 'definition'>> {
  const loaded = await definitionOfFolder(clientFolder(session, 'dockerfile'), dockerfile, signal)
  const text = checkedDefinition(loaded, dockerfile)
  return { context: await folderContext(clientFolder(session, 'context'), loaded.ignore, signal), definition: text }
}

/** What any build with a session has of it, whatever its context. */
export function lentBy(session: Session, signal: AbortSignal): Pick<BuildRequest, 'credentials' | 'loans'> {
  return {
    credentials: (host) => session.credentials(host, signal),
    loans: {
      secret: (id) => session.secret(id, signal),
      hasAgent: (id) => session.hasAgent(id, signal),
      forwardAgent: (id, connection) => session.forwardAgent(id, connection, signal),
    },
  }
}

/** Where the result goes, as `outputs` names it; undefined: it becomes an image here. */
export function outputTo(session: Session | undefined, outputs: readonly JsonInput[], signal: AbortSignal): BuildRequest['output'] {
  const [output, ...more] = outputs
  if (output === undefined) return undefined
  if (more.length > 0) throw new Fault('invalidArgument', 'multiple outputs currently unsupported')
  const type = output.string('Type') ?? ''
  if (type === 'image' || type === 'docker' || type === 'moby') return undefined
  if (type !== 'local' && type !== 'tar') throw new Fault('invalidArgument', `output of type '${type}' is not supported; expected local or tar`)
  if (session === undefined) throw new Fault('invalidArgument', `output of type '${type}' needs the client's session`)
  return async (built) => {
    const [only, ...others] = built
    if (only === undefined) throw new Fault('internal', 'nothing was built')
    const folders: PlatformFolders = { split: others.length > 0, extra: () => [] }
    if (type === 'local') await session.sendFiles(others.length > 0 ? await filesOfAll(built, folders) : await only.files(), signal)
    else await session.sendArchive(others.length > 0 ? tarOfAll(built, folders) : await only.tar(), signal)
  }
}

/** Small files of a tar by their path. */
async function textsOf(tar: AsyncIterable<Buffer>): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>()
  for await (const item of readTar(tar)) {
    const { type, path, sizeBytes } = item.entry
    if (type !== 'file') continue
    if (sizeBytes > maxTextBytes) throw new Fault('tooLarge', `${path.toString()} has ${sizeBytes} bytes; at most ${maxTextBytes} are read`)
    const chunks: Buffer[] = []
    for (let chunk = await item.read(1 << 20); chunk !== undefined; chunk = await item.read(1 << 20)) chunks.push(chunk)
    texts.set(path.toString(), Buffer.concat(chunks).toString('utf8'))
  }
  return texts
}
