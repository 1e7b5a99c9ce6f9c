/** The tar codec: what is written is read back, what others write is understood, what is broken is refused by name. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { inChunks, sampleTar } from './archive-samples.ts'
import { defaultTarLimits } from './entry.ts'
import type { TarEntry, TarLimits } from './entry.ts'
import { formatPax, parsePax } from './pax.ts'
import { readTar } from './reader.ts'
import { checkSymlink, safeComponents } from './safe-path.ts'
import { tarEnd, tarHeader, tarPadding } from './writer.ts'

interface ReadBack {
  readonly entry: TarEntry
  readonly content: Buffer
  readonly segments: unknown
}

async function readAll(bytes: Buffer, options: { readonly chunk?: number; readonly limits?: TarLimits } = {}): Promise<ReadBack[]> {
  const found: ReadBack[] = []
  for await (const item of readTar(inChunks(bytes, options.chunk), options.limits)) {
    const parts: Buffer[] = []
    for (let chunk = await item.read(); chunk !== undefined; chunk = await item.read()) parts.push(Buffer.from(chunk))
    found.push({ entry: item.entry, content: Buffer.concat(parts), segments: item.segments })
  }
  return found
}

const refused = (pattern: RegExp) => (error: unknown): boolean => isFault(error, 'invalidArgument') && pattern.test(error.message)

const pathBytes = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x61 : byte))))
const xattrs = fc.dictionary(fc.stringMatching(/^(user|security)\.[a-z]{1,8}$/), fc.uint8Array({ maxLength: 64 }), { maxKeys: 3 })

const anyEntry = fc.record({
  path: pathBytes,
  type: fc.constantFrom('file' as const, 'directory' as const, 'symlink' as const, 'hardlink' as const, 'charDevice' as const, 'fifo' as const),
  link: pathBytes,
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  gid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  name: fc.string({ maxLength: 40 }).map((text) => text.replaceAll('\0', '').toWellFormed()),
  content: fc.uint8Array({ maxLength: 1500 }),
  modifiedNs: fc.bigInt({ min: -(10n ** 18n), max: 10n ** 19n }),
  xattrs,
})

test('every entry survives being written and read, in chunks of any size', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyEntry, { maxLength: 6 }), fc.integer({ min: 1, max: 2000 }), async (models, chunk) => {
      const expected = models.map((model) => {
        const isLink = model.type === 'symlink' || model.type === 'hardlink'
        const content = model.type === 'file' ? Buffer.from(model.content) : Buffer.alloc(0)
        const entry: TarEntry = {
          type: model.type, path: model.path, linkPath: isLink ? model.link : Buffer.alloc(0), mode: model.mode, uid: model.uid, gid: model.gid,
          userName: model.name, groupName: model.name, sizeBytes: content.length, modifiedNs: model.modifiedNs,
          ...(model.type === 'charDevice' ? { device: { major: 5, minor: 300_000 } } : {}),
          xattrs: new Map(Object.entries(model.xattrs).map(([key, value]) => [key, Buffer.from(value)])),
        }
        return { entry, content, segments: undefined }
      })
      const bytes = Buffer.concat([...expected.flatMap(({ entry, content }) => [tarHeader(entry), content, tarPadding(content.length)]), tarEnd])
      assert.deepEqual(await readAll(bytes, { chunk }), expected)
    }),
    { numRuns: 150 },
  )
})

test('the same entries always give the same bytes', () => {
  const samples = [{ path: 'ü', xattrs: { 'user.b': Buffer.from('2'), 'user.a': Buffer.from('1') } }]
  assert.deepEqual(sampleTar(samples), sampleTar(samples))
})

test('pax records keep binary values, also with newlines and equal signs', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.stringMatching(/^[A-Za-z.]{1,20}$/), fc.uint8Array({ maxLength: 200 })), (records) => {
      const map = new Map(Object.entries(records).map(([key, value]) => [key, Buffer.from(value)]))
      assert.deepEqual(parsePax(formatPax(map)), map)
    }),
  )
  assert.throws(() => parsePax(Buffer.from('999 a=b\n')), refused(/pax record/))
})

test('junk and damaged archives are refused, never a crash', async () => {
  const good = sampleTar([{ path: 'a', content: 'x'.repeat(700) }, { path: 'b'.repeat(200), xattrs: { 'user.x': Buffer.from('y') } }])
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 }), fc.nat(good.length), async (edits, length) => {
      const bytes = Buffer.from(good.subarray(0, length))
      for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value
      await readAll(bytes).catch((error: unknown) => assert.ok(isFault(error, 'invalidArgument'), String(error)))
    }),
    { numRuns: 500 },
  )
})

test('an archive that ends too early is refused', async () => {
  const bytes = sampleTar([{ path: 'a', content: 'x'.repeat(700) }])
  await assert.rejects(readAll(bytes.subarray(0, 600)), refused(/'a'.*too early/))
  await assert.rejects(readAll(bytes.subarray(0, 100)), refused(/middle of a header/))
})

test('bombs are refused by their bounds', async () => {
  const limits = { ...defaultTarLimits, maxEntries: 2, maxTotalBytes: 1000, maxHeaderBytes: 100 }
  await assert.rejects(readAll(sampleTar([{ path: 'a' }, { path: 'b' }, { path: 'c' }]), { limits }), refused(/more than the 2 entries/))
  await assert.rejects(readAll(sampleTar([{ path: 'a', content: 'x'.repeat(1001) }]), { limits }), refused(/1000 bytes/))
  await assert.rejects(readAll(sampleTar([{ path: 'p'.repeat(300) }]), { limits }), refused(/extended header/))
})

function block(fields: { readonly name: string; readonly type: string; readonly size: number; readonly edit?: (bytes: Buffer) => void }): Buffer {
  const bytes = tarHeader({ type: 'file', path: Buffer.from(fields.name), linkPath: Buffer.alloc(0), mode: 0o644, uid: 0, gid: 0, userName: '', groupName: '', sizeBytes: fields.size, modifiedNs: 0n, xattrs: new Map() })
  bytes.write(fields.type, 156, 'latin1')
  fields.edit?.(bytes)
  bytes.fill(' ', 148, 156)
  let sum = 0
  for (const byte of bytes) sum += byte
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return bytes
}

test('GNU long names and base-256 numbers are understood', async () => {
  const long = `${'d/'.repeat(90)}file`
  const bytes = Buffer.concat([
    block({ name: '././@LongLink', type: 'L', size: long.length + 1 }), Buffer.from(`${long}\0`), tarPadding(long.length + 1),
    block({
      name: 'short', type: '0', size: 0,
      edit(header) {
        header.write('ustar  \0', 257, 'latin1')
        header.fill(0, 108, 116)
        header[108] = 0x80
        header.writeUInt32BE(3_000_000_000, 112)
      },
    }),
    tarEnd,
  ])
  const [found] = await readAll(bytes)
  assert.equal(found?.entry.path.toString(), long)
  assert.equal(found?.entry.uid, 3_000_000_000)
})

test('sparse files of the three GNU forms keep their holes', async () => {
  const old = block({
    name: 'old', type: 'S', size: 6,
    edit(header) {
      header.write('ustar  \0', 257, 'latin1')
      header.fill(0, 345, 512)
      header.write('00000002000\0', 386, 'latin1')
      header.write('00000000006\0', 398, 'latin1')
      header.write('00000010000\0', 483, 'latin1')
    },
  })
  const paxed = (records: Record<string, string>, body: Buffer): Buffer => {
    const pax = formatPax(new Map(Object.entries(records).map(([key, value]) => [key, Buffer.from(value)])))
    return Buffer.concat([block({ name: 'pax', type: 'x', size: pax.length }), pax, tarPadding(pax.length), block({ name: 'x', type: '0', size: body.length }), body, tarPadding(body.length)])
  }
  const inline = Buffer.alloc(512)
  inline.write('1\n1024\n6\n')
  const bytes = Buffer.concat([
    old, Buffer.from('sparse'), tarPadding(6),
    paxed({ 'GNU.sparse.size': '4096', 'GNU.sparse.numblocks': '1', 'GNU.sparse.map': '1024,6', 'GNU.sparse.name': 'map' }, Buffer.from('sparse')),
    paxed({ 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '4096', 'GNU.sparse.name': 'inline' }, Buffer.concat([inline, Buffer.from('sparse')])),
    tarEnd,
  ])
  const found = await readAll(bytes, { chunk: 100 })
  assert.deepEqual(found.map(({ entry }) => `${entry.path.toString()} ${entry.sizeBytes}`), ['old 4096', 'map 4096', 'inline 4096'])
  for (const { segments, content } of found) {
    assert.deepEqual(segments, [{ offset: 1024, length: 6 }])
    assert.equal(content.toString(), 'sparse')
  }
  const lying = paxed({ 'GNU.sparse.size': '10', 'GNU.sparse.map': '8,6' }, Buffer.from('sparse'))
  await assert.rejects(readAll(Buffer.concat([lying, tarEnd])), refused(/sparse map/))
})

test('names and links that leave the root are refused', () => {
  for (const path of ['/etc/passwd', '../x', 'a/../../x', 'a/..', 'a\0b']) assert.throws(() => safeComponents(Buffer.from(path)), refused(/absolute|\.\.|NUL/), path)
  assert.deepEqual(safeComponents(Buffer.from('./a//b/./c/')).map(String), ['a', 'b', 'c'])
  assert.deepEqual(safeComponents(Buffer.from('./')), [])
  const link = (path: string, target: string): void => checkSymlink(safeComponents(Buffer.from(path)), Buffer.from(target), Buffer.from(path))
  link('a/b', '../c')
  link('a', '/usr/bin')
  assert.throws(() => link('a', '../etc'), refused(/leads out/))
  assert.throws(() => link('a/b', '../../etc'), refused(/leads out/))
})
