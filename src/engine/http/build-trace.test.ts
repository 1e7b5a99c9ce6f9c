/** The trace of a build, read back by protobuf's wire format. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { BuildTrace } from './build-trace.ts'

/** Field number → value: a varint's number, or bytes. */
function fields(message: Buffer): Map<number, Buffer | number> {
  const found = new Map<number, Buffer | number>()
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = message[at] ?? assert.fail('the message is cut short')
      at += 1
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }
  while (at < message.length) {
    const key = varint()
    if ((key & 7) === 0) found.set(key >> 3, varint())
    else {
      assert.equal(key & 7, 2)
      const length = varint()
      found.set(key >> 3, message.subarray(at, at + length))
      at += length
    }
  }
  return found
}

interface Line {
  readonly id?: string
  readonly aux?: unknown
}

test('steps are vertices, output is their log, the image id comes last', () => {
  const lines: Line[] = []
  const trace = new BuildTrace(systemClock, (line) => lines.push(line))
  trace.tell({ kind: 'stream', text: 'Step 1/2 : FROM a\n', step: { number: 1, total: 2, instruction: 'FROM a' } })
  trace.tell({ kind: 'stream', text: ' ---> Using cache\n', note: 'cached' })
  trace.tell({ kind: 'stream', text: 'Step 2/2 : RUN b\n', step: { number: 2, total: 2, instruction: 'RUN b' } })
  trace.tell({ kind: 'stream', text: 'output\n' })
  trace.tell({ kind: 'imageId', id: 'sha256:abc' })
  const told = lines.map(({ id, aux }) => {
    if (id !== 'moby.buildkit.trace' || typeof aux !== 'string') return JSON.stringify(aux)
    const response = fields(Buffer.from(aux, 'base64'))
    const [field, content] = [...response][0] ?? assert.fail('an empty response')
    assert.ok(Buffer.isBuffer(content))
    const message = fields(content)
    if (field === 3) return `log ${String(message.get(4))}`
    return `${String(message.get(3))}${message.get(4) === 1 ? ' cached' : ''}${message.has(6) ? ' completed' : ' started'}`
  })
  assert.deepEqual(told, ['[1/2] FROM a started', '[1/2] FROM a cached completed', '[2/2] RUN b started', 'log output\n', '[2/2] RUN b completed', '{"ID":"sha256:abc"}'])
})

test('a failed step says why', () => {
  const lines: Line[] = []
  const trace = new BuildTrace(systemClock, (line) => lines.push(line))
  trace.tell({ kind: 'stream', text: 'Step 1/1 : RUN false\n', step: { number: 1, total: 1, instruction: 'RUN false' } })
  trace.end('exit code 1')
  const last = fields(Buffer.from(String(lines.at(-1)?.aux), 'base64')).get(1)
  assert.ok(Buffer.isBuffer(last))
  assert.equal(String(fields(last).get(7)), 'exit code 1')
})
