/** Volume files on a real file system: what a container would see at each moment. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isFault } from '#base/fault.ts'
import type { NodeFiles, TreeFile } from '../ports.ts'
import { realNodeFiles } from './files.ts'

async function withFiles(body: (files: NodeFiles, folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'nf-'))
  const none = async (): Promise<void> => undefined
  try {
    await body(realNodeFiles({ mount: none, unmount: none, table: async () => [] }), folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const tree = (files: Record<string, string>, mode = 0o644): Map<string, TreeFile> => new Map(Object.entries(files).map(([name, text]) => [name, { content: Buffer.from(text), mode }]))

test('a volume changes all at once behind ..data, drops what is gone, and is left alone when nothing changed', () =>
  withFiles(async (files, folder) => {
    const path = join(folder, 'v')
    assert.equal(await files.writeTree(path, tree({ a: '1', 'sub/b': '2' })), true)
    assert.equal(readFileSync(join(path, 'a'), 'utf8'), '1')
    assert.equal(readFileSync(join(path, 'sub/b'), 'utf8'), '2')
    assert.equal(readlinkSync(join(path, 'a')), '..data/a')
    const first = readlinkSync(join(path, '..data'))
    assert.equal(await files.writeTree(path, tree({ a: '1', 'sub/b': '2' })), false)
    assert.equal(readlinkSync(join(path, '..data')), first)
    assert.equal(await files.writeTree(path, tree({ a: 'new', c: '3' })), true)
    assert.deepEqual(readdirSync(path).filter((name) => !name.startsWith('..')).sort(), ['a', 'c'])
    assert.equal(readFileSync(join(path, 'a'), 'utf8'), 'new')
    assert.equal(readdirSync(path).includes(first), false, 'the old folder is removed')
    assert.equal(await files.writeTree(path, tree({ a: 'new', c: '3' }, 0o400)), true, 'a changed mode counts')
    assert.equal(statSync(join(path, 'a')).mode & 0o777, 0o400)
  }))

test('file names of a volume cannot leave it, nor can a subPath through a link', () =>
  withFiles(async (files, folder) => {
    await assert.rejects(files.writeTree(join(folder, 'v'), tree({ '../out': 'x' })), (error) => isFault(error, 'invalidArgument'))
    const root = join(folder, 'root')
    mkdirSync(root)
    writeFileSync(join(folder, 'secret'), 's')
    symlinkSync(folder, join(root, 'link'))
    await assert.rejects(files.subPath(root, 'link/secret'), (error) => isFault(error, 'invalidArgument'))
    await assert.rejects(files.subPath(root, '../secret'), (error) => isFault(error, 'invalidArgument'))
    assert.equal(await files.subPath(root, 'new/folder'), join(root, 'new/folder'))
    assert.ok(statSync(join(root, 'new/folder')).isDirectory())
  }))

test('logs rotate and only the newest are kept; the end of a file is read without following links', () =>
  withFiles(async (files, folder) => {
    const log = join(folder, '0.log')
    for (const text of ['1', '2', '3', '4']) {
      writeFileSync(log, text)
      await files.rotate(log, 2)
    }
    assert.deepEqual(readdirSync(folder).sort(), ['0.log.1', '0.log.2'])
    assert.equal(readFileSync(`${log}.1`, 'utf8'), '4')
    writeFileSync(log, 'abcdef')
    assert.equal((await files.readEnd(log, 3))?.toString(), 'def')
    symlinkSync(log, join(folder, 'link'))
    assert.equal(await files.readEnd(join(folder, 'link'), 3), undefined)
    assert.equal(await files.readEnd(join(folder, 'none'), 3), undefined)
  }))
