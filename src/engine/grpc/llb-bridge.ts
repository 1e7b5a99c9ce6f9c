/** BuildKit's `LLBBridge` for clients that are the frontend of a build of theirs (moby/buildkit `frontend/gateway/pb/gateway.proto`). */
import { Fault } from '#base/fault.ts'
import { unary, type GrpcExchange, type GrpcMethod } from '#base/grpc-server.ts'
import { ProtoMessage, ProtoWriter } from '#base/proto-wire.ts'
import type { BuildAnswer } from '../contract/builds.ts'
import { fromBytePath, type TreeEntry } from '../build/tree.ts'
import { encodeStat } from '../session/file-packets.ts'
import { statOf } from '../session/send-files.ts'
import { empty, workerFacts } from './control.ts'
import { definitionOf } from './definitions.ts'
import { decodeStatus, ReturnedFailure } from './failure.ts'
import { heldRef, refsOf, solveFor } from './frontend-solve.ts'
import type { Job } from './job.ts'
import { parsePlatform, writePlatform } from '#oci/platform.ts'
import { encodePong, writeEntry } from './records.ts'
import { FrontendResult } from './result.ts'
import type { BuildService } from './service.ts'

export function bridgeMethods(service: BuildService): [string, GrpcMethod][] {
  /** The build is named by the call's metadata. */
  const method = (name: string, serve: (job: Job, request: ProtoMessage, exchange: GrpcExchange) => Promise<Buffer>): [string, GrpcMethod] => [
    `/moby.buildkit.v1.frontend.LLBBridge/${name}`,
    unary(async (message, exchange) => serve(await jobOf(service, exchange), new ProtoMessage(message), exchange)),
  ]
  return [
    method('Ping', async () => encodePong(await workerFacts(service))),
    method('Solve', (job, request) => solve(service, job, request)),
    method('Evaluate', async (_job, request) => {
      await heldRef(service, request.string(1)).result.evaluate()
      return empty()
    }),
    method('StatFile', async (_job, request) => oneField(encodeStat(statOf((await entryOf(service, { ref: request.string(1), path: request.string(2) })).entry)))),
    method('ReadFile', async (_job, request) => oneField((await entryOf(service, { ref: request.string(1), path: request.string(2) }, request.message(3))).content)),
    method('Return', (job, request) => returned(job, request)),
    method('Warn', (job, request) => warn(job, request)),
  ]
}

function jobOf({ jobs }: BuildService, { metadata }: GrpcExchange): Promise<Job> {
  const id = metadata['buildkit-controlapi-buildid']
  if (typeof id !== 'string' || id === '') throw new Fault('invalidArgument', 'no buildid found in context')
  return jobs.get(id)
}

async function solve(service: BuildService, job: Job, request: ProtoMessage): Promise<Buffer> {
  const solved = await solveFor(service, job, {
    frontend: request.string(2), attributes: request.stringMap(3), inputs: request.messageMap(13), ...(request.has(1) ? { definition: request.message(1) } : {}),
  })
  const answer = new ProtoWriter()
  if (solved instanceof FrontendResult) {
    if (request.boolean(14)) await solved.evaluate()
    answer.message(3, (result) => writeResult(result, solved))
  } else answer.message(3, (result) => writeAnswer(result, solved))
  return answer.finish()
}

/** One ref, or one for each platform. */
function writeResult(result: ProtoWriter, solved: FrontendResult): void {
  const writeRef = (id: string) => (ref: ProtoWriter): void => {
    ref.string(1, id)
    ref.bytes(2, definitionOf(id))
  }
  if (solved.platforms.length === 0) return result.message(3, writeRef(solved.id))
  result.message(4, (refs) => {
    for (const { ref, platform } of refsOf(solved)) {
      refs.message(1, (entry) => {
        entry.string(1, platform)
        entry.message(2, writeRef(ref))
      })
    }
  })
  writeEntry(result, 10, ['refs.platforms', JSON.stringify({ Platforms: solved.platforms.map((platform) => ({ ID: platform, Platform: writePlatform(parsePlatform(platform)) })) })])
}

/** A message of one field, the first. */
function oneField(bytes: Buffer): Buffer {
  const writer = new ProtoWriter()
  writer.bytes(1, bytes)
  return writer.finish()
}

/** Of a file that is read whole. */
const maxFileBytes = 8 << 20

/** A file of a result; its content is read where a range of it is given. */
async function entryOf(service: BuildService, at: { readonly ref: string; readonly path: string }, range?: ProtoMessage): Promise<{ readonly entry: TreeEntry; readonly content: Buffer }> {
  let found: TreeEntry | undefined
  let content: Buffer = Buffer.alloc(0)
  const path = at.path.split('/').filter((part) => part !== '' && part !== '.').join('/')
  const { result, index } = heldRef(service, at.ref)
  await result.handOver(async (built) => {
    const files = await built[index]?.files()
    if (files === undefined) throw new Fault('notFound', `no such ref: ${at.ref}`)
    for (const entry of files.entries) if (fromBytePath(entry.path) === path) found = entry
    if (range === undefined || found?.type !== 'file' || found.sizeBytes === 0) return
    if (found.sizeBytes > maxFileBytes) throw new Fault('tooLarge', `${at.path} has ${found.sizeBytes} bytes; at most ${maxFileBytes} are read`)
    content = Buffer.concat(await Array.fromAsync(files.content(found), (chunk) => Buffer.from(chunk)))
  })
  if (found === undefined) throw new Fault('notFound', `${at.path}: no such file or directory`)
  const offset = Number(range?.integer(1) ?? 0n)
  const length = Number(range?.integer(2) ?? 0n)
  return { entry: found, content: length > 0 ? content.subarray(offset, offset + length) : content.subarray(offset) }
}

/** As metadata of a result without files. */
function writeAnswer(result: ProtoWriter, { json, text, exitCode }: BuildAnswer): void {
  const metadata: Readonly<Record<string, string>> = { 'result.json': JSON.stringify(json, undefined, 2), 'result.txt': text, 'result.statuscode': String(exitCode), version: '1.0.0' }
  for (const entry of Object.entries(metadata)) writeEntry(result, 10, entry)
}

function returned(job: Job, request: ProtoMessage): Promise<Buffer> {
  const failure = decodeStatus(request.message(2))
  if (failure.code !== 0) job.fail(new ReturnedFailure(failure))
  else {
    const result = request.message(1)
    const refs = [...result.message(4).messageMap(1).values()].map((ref) => ref.string(1))
    const ids = new Set([...refs, result.message(3).string(1) || result.string(1)].filter((ref) => ref !== '').map((ref) => ref.split('.', 1)[0]))
    if (result.has(2) || ids.size > 1) throw new Fault('unimplemented', 'a build has one result here: what one frontend has made, for all platforms')
    job.return([...ids][0])
  }
  return empty()
}

function warn(job: Job, request: ProtoMessage): Promise<Buffer> {
  const ranges = request.messages(7)
  const at = { file: request.message(6).string(1), firstLine: Number(ranges[0]?.message(1).integer(1) ?? 0n), lastLine: Number(ranges.at(-1)?.message(2).integer(1) ?? 0n) }
  job.tell({ kind: 'warning', vertex: request.string(1), warning: { rule: '', description: request.strings(4).join('\n'), url: request.string(5), detail: request.string(3), ...(ranges.length === 0 ? {} : { at }) } })
  return empty()
}
