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

/** The lines as `field: text`. */
function told(lines: readonly Line[]): string[] {
  return lines.map(({ id, aux }) => {
    if (id !== 'moby.buildkit.trace' || typeof aux !== 'string') return JSON.stringify(aux)
    const [field, content] = [...fields(Buffer.from(aux, 'base64'))][0] ?? assert.fail('an empty response')
    assert.ok(Buffer.isBuffer(content))
    const message = fields(content)
    const text = (number: number): string => String(message.get(number) ?? '')
    if (field === 3) return `log ${text(4)}`
    if (field === 2) return `status ${text(1)} ${text(4)}/${text(5)}${message.has(8) ? ' done' : ''}`
    if (field === 4) return `warning ${text(3)}`
    return `${text(3)}${message.get(4) === 1 ? ' cached' : ''}${message.has(6) ? ' completed' : ' started'}${text(7) === '' ? '' : `: ${text(7)}`}`
  })
}

test('steps are vertices that may overlap, output is their log, the image id is a line of its own', () => {
  const lines: Line[] = []
  const trace = new BuildTrace(systemClock, (line) => lines.push(line))
  trace.tell({ kind: 'vertex', state: 'begun', id: 'sha256:1', name: '[a 1/2] FROM a', inputs: [] })
  trace.tell({ kind: 'vertex', state: 'begun', id: 'sha256:2', name: '[b 1/2] RUN b', inputs: [] })
  trace.tell({ kind: 'output', vertex: 'sha256:2', channel: 'stdout', data: Buffer.from('output\n') })
  trace.tell({ kind: 'progress', vertex: 'sha256:1', part: 'layer', status: 'Downloading', currentBytes: 1, totalBytes: 2 })
  trace.tell({ kind: 'progress', vertex: 'sha256:1', part: 'layer', status: 'Downloading', currentBytes: 2, totalBytes: 2 })
  trace.tell({ kind: 'vertex', state: 'ended', id: 'sha256:1', cached: true })
  trace.tell({ kind: 'warning', vertex: 'sha256:2', warning: { rule: 'StageNameCasing', description: '', url: '', detail: 'name it so', at: { file: 'Dockerfile', firstLine: 3, lastLine: 3 } } })
  trace.tell({ kind: 'vertex', state: 'ended', id: 'sha256:2', cached: false, error: 'exit code 1' })
  trace.tell({ kind: 'stream', text: 'for others\n' })
  trace.tell({ kind: 'imageId', id: 'sha256:abc' })
  assert.deepEqual(told(lines), [
    '[a 1/2] FROM a started', '[b 1/2] RUN b started', 'log output\n', 'status layer 1/2', 'status layer 2/2 done', '[a 1/2] FROM a cached completed',
    'warning StageNameCasing: name it so (line 3)', '[b 1/2] RUN b completed: exit code 1', '{"ID":"sha256:abc"}',
  ])
})
