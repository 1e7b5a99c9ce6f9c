/** How a build is shown: lines elsewhere, moving rows on a terminal; and where its output goes. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, readlink, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { systemClock } from '#base/clock.ts'
import { ProtoWriter } from '#base/proto-wire.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import type { Terminal } from '../terminal.ts'
import { parseOutput, sinkOf } from './build-output.ts'
import { traceEvents, type TraceEvent } from './build-trace.ts'
import { buildView } from './build-view.ts'

function screen(isTTY: boolean): { readonly terminal: Terminal; readonly text: () => string } {
  let text = ''
  const stream = (): Writable & { isTTY: boolean; columns: number; rows: number } => Object.assign(new Writable({ write: (chunk: Buffer, _encoding, done) => { text += chunk.toString(); done() } }), { isTTY, columns: 60, rows: 24 })
  const terminal: Terminal = { stdin: process.stdin, stdout: stream(), stderr: stream(), clock: systemClock, onSignal: () => ({ [Symbol.dispose]: () => undefined }) }
  return { terminal, text: () => text }
}

const begun = (id: string, name: string): TraceEvent => ({ kind: 'vertex', id, name, cached: false, startedMs: 1000, completedMs: undefined, error: '' })
const ended = (id: string, name: string, more: Partial<Extract<TraceEvent, { kind: 'vertex' }>> = {}): TraceEvent => ({ kind: 'vertex', id, name, cached: false, startedMs: 1000, completedMs: 2500, error: '', ...more })
const story: readonly TraceEvent[] = [
  begun('a', '[a 1/2] RUN a'), begun('b', '[b 1/2] RUN b'),
  { kind: 'log', vertex: 'b', data: Buffer.from('half a '), atMs: 1500 }, { kind: 'log', vertex: 'b', data: Buffer.from('line\nrest'), atMs: 1600 },
  { kind: 'status', vertex: 'a', part: 'layer', current: 1, total: 4, isDone: false }, ended('a', '[a 1/2] RUN a', { cached: true }),
  { kind: 'warning', short: 'StageNameCasing: name it so (line 1)' }, ended('b', '[b 1/2] RUN b', { error: 'exit code 1\nmore' }),
]

test('without a terminal each step and line is a plain line', async () => {
  const { terminal, text } = screen(false)
  const view = buildView(terminal)
  for (const event of story) await view.tell(event)
  await view.close()
  assert.equal(text(), '#1 [a 1/2] RUN a\n#2 [b 1/2] RUN b\n#2 0.600 half a line\n#1 CACHED\n\nWARNING: StageNameCasing: name it so (line 1)\n#2 rest\n#2 ERROR: exit code 1\n\n')
})

test('on a terminal what is under way moves below what has ended, no wider than the terminal', async () => {
  const { terminal, text } = screen(true)
  const view = buildView(terminal)
  for (const event of story) {
    await view.tell(event)
    await view.tick()
  }
  await view.close()
  const plain = stripVTControlCharacters(text())
  assert.match(plain, / => \[a 1\/2\] RUN a +[\d.]+s\n => => layer +\[=+> +\] 1B\/4B\n => \[b 1\/2\] RUN b/)
  assert.match(plain, / => CACHED \[a 1\/2\] RUN a +1\.5s\n/)
  assert.match(plain, / => ERROR \[b 1\/2\] RUN b +1\.5s\n\r*$/)
  assert.ok(plain.split('\n').every((line) => line.replace('\r', '').length < 60))
})

test('the trace is read as BuildKit writes it', () => {
  const response = new ProtoWriter()
  response.message(1, (vertex) => {
    vertex.string(1, 'sha256:1')
    vertex.string(3, 'name')
    vertex.varint(4, 1)
    vertex.message(5, (time) => time.varint(1, 7))
  })
  response.message(3, (log) => {
    log.string(1, 'sha256:1')
    log.bytes(4, Buffer.from('said'))
  })
  assert.deepEqual(traceEvents(response.finish()), [
    { kind: 'vertex', id: 'sha256:1', name: 'name', cached: true, startedMs: 7000, completedMs: undefined, error: '' },
    { kind: 'log', vertex: 'sha256:1', atMs: 0, data: Buffer.from('said') },
  ])
})

test('outputs are told from their words', () => {
  assert.deepEqual(parseOutput('out'), { type: 'local', dest: 'out', push: false })
  assert.deepEqual(parseOutput('type=oci,dest=a.tar'), { type: 'oci', dest: 'a.tar', push: false })
  assert.deepEqual(parseOutput('type=image,push=true'), { type: 'image', dest: '', push: true })
  assert.throws(() => parseOutput('type=what'), /unknown type 'what'/)
  assert.throws(() => parseOutput('type=local'), /dest is required/)
})

test('files of an output keep modes and links, and are never written through a link', async () => {
  const folder = await mkdtemp(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'out-'))
  const unpack = async (tar: Buffer): Promise<void> => {
    const { stream, done } = sinkOf({ type: 'local', dest: join(folder, 'o'), push: false }, screen(false).terminal)
    stream.end(tar)
    await done
  }
  try {
    await unpack(sampleTar([{ path: 'd', type: 'directory' }, { path: 'd/f', content: 'x', mode: 0o750 }, { path: 'l', type: 'symlink', link: 'd/f' }]))
    assert.equal(await readFile(join(folder, 'o/l'), 'utf8'), 'x')
    assert.equal(await readlink(join(folder, 'o/l')), 'd/f')
    await symlink('/tmp', join(folder, 'o/evil'))
    await assert.rejects(unpack(sampleTar([{ path: 'evil/f', content: 'x' }])), /is no folder: the output would be written through it/)
  } finally {
    await rm(folder, { recursive: true })
  }
})
