/** What a build of BuildKit's clients takes from their session instead of from its request: Dockerfile, context, credentials, secrets. */
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import { readTar } from '#oci/layer/reader.ts'
import { ignorePatterns } from '../build/ignore.ts'
import type { Session } from '../session/sessions.ts'
import type { BuildRequest } from './backend.ts'
import type { JsonInput } from './json-input.ts'

export type BuildSource = Pick<BuildRequest, 'context' | 'definition' | 'credentials' | 'loans'>

/** Of a Dockerfile or an ignore file. */
const maxTextBytes = 16 << 20

/** The client's folders `dockerfile` and `context`. */
export async function sourceOfSession(session: Session, dockerfile: string, signal: AbortSignal): Promise<Pick<BuildSource, 'context' | 'definition'>> {
  const names = [dockerfile, `${dockerfile}.dockerignore`]
  const texts = await textsOf(session.files({ folder: 'dockerfile', include: names }, signal))
  const definition = texts.get(dockerfile)
  if (definition === undefined) throw new Fault('invalidArgument', `failed to read dockerfile: open ${dockerfile}: no such file or directory`)
  if (definition.trim() === '') throw new Fault('invalidArgument', `the Dockerfile (${dockerfile}) cannot be empty`)
  const ignore = texts.get(`${dockerfile}.dockerignore`) ?? (await textsOf(session.files({ folder: 'context', include: ['.dockerignore'] }, signal))).get('.dockerignore') ?? ''
  const context = Readable.from(session.files({ folder: 'context', exclude: ignorePatterns(ignore) }, signal), { objectMode: false })
  return { context: { kind: 'archive', tar: context }, definition }
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
  return (built) => (type === 'local' ? session.sendFiles(built, signal) : session.sendTar(built, signal))
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
