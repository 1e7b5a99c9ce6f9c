/** The same input makes the same image, wherever and whenever it is built, when SOURCE_DATE_EPOCH says its time. */
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openKernel } from '#linux/real/kernel.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { buildTests, openBuildLaboratory, shellFiles, withShell } from './builder.fixture.ts'

const { build, opened } = buildTests('epoch', openKernel)
const dockerfile = `${withShell}ENV A=b\nWORKDIR /w\nRUN echo made > made && busybox mkdir d\nCOPY <<f /heredoc\nx\nf\n`

test('two stores make the same digest, with no time later than the epoch', async () => {
  const { kernel, folder } = opened()
  const change = { buildArgs: { SOURCE_DATE_EPOCH: '1700000000' } }
  const first = await build(dockerfile, shellFiles, change)
  const other = join(folder, 'other')
  await mkdir(other)
  const laboratory = await openBuildLaboratory(kernel, other, 'epoch2')
  try {
    const second = await laboratory.build(sampleTar([{ path: 'Dockerfile', content: dockerfile }, ...shellFiles]), change)
    assert.equal(second.image.id, first.image.id)
  } finally {
    await laboratory[Symbol.asyncDispose]()
  }
  assert.equal(first.image.config.created, '2023-11-14T22:13:20Z')
  assert.ok(first.image.config.history?.every(({ created }) => created === '2023-11-14T22:13:20Z'))
  await opened().laboratory.withFiles(first.image, async (root) => {
    const { stdout } = await kernel.processes.run(['find', '.', '-mindepth', '1', '-newermt', '@1700000000'], { cwd: root })
    assert.equal(stdout.toString(), '')
  })
})

test('times of files stay where that is asked, and a time that is none is refused', async () => {
  const { image } = await build(dockerfile, shellFiles, { sourceDateEpochS: 1_700_000_000, rewriteTimestamps: false })
  const { image: plain } = await build(dockerfile, shellFiles)
  assert.deepEqual(image.config.rootfs.diff_ids, plain.config.rootfs.diff_ids)
  assert.equal(image.config.created, '2023-11-14T22:13:20Z')
  await assert.rejects(build(dockerfile, shellFiles, { buildArgs: { SOURCE_DATE_EPOCH: 'yesterday' } }), /SOURCE_DATE_EPOCH=yesterday is no time/)
})
