/**
 * Stand-ins for the images that foreign suites name: there is no Internet where they run. Every one is a root of Debian's
 * busybox-static with the configuration that the real image has; one archive (`docker save` form) goes into every engine, so
 * that the engines compared run the very same image.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { sampleTar, type Sample } from '../../src/oci/layer/archive-samples.ts'

export interface StandInImage {
  /** `REPOSITORY:TAG`, names as users write them. */
  readonly names: readonly string[]
  readonly config: Buffer
  /** Uncompressed tars, lowest first. */
  readonly layers: readonly Buffer[]
}

interface Wish {
  readonly names: readonly string[]
  readonly command: readonly string[]
  /** Differs per image, so that no two images are the same one. */
  readonly release: string
  readonly workingDir?: string
  readonly labels?: Readonly<Record<string, string>>
  /** Of the instructions between the two layers, and of the one that made the second; oldest first. */
  readonly history?: readonly { readonly created_by: string; readonly comment?: string; readonly empty_layer?: boolean }[]
}

export function standInImages(wishes: readonly Wish[]): readonly StandInImage[] {
  const root = rootTar()
  return wishes.map(({ names, command, release, workingDir, labels, history }) => {
    const layers = [root, sampleTar([{ path: 'etc', type: 'directory' }, { path: 'etc/os-release', content: `PRETTY_NAME="${release}"\n` }])]
    const created = '2024-01-02T03:04:05Z'
    const madeOf = { created_by: `stand-in for ${release}` }
    const config = {
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      created,
      config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: command, ...(workingDir === undefined ? {} : { WorkingDir: workingDir }), ...(labels === undefined ? {} : { Labels: labels }) },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => `sha256:${sha256(layer)}`) },
      history: [madeOf, ...(history ?? [madeOf])].map((entry) => ({ created, ...entry })),
    }
    return { names, config: Buffer.from(JSON.stringify(config)), layers }
  })
}

/** The images as `docker save` writes them. */
export function imageArchive(images: readonly StandInImage[]): Buffer {
  const files = new Map<string, Buffer>()
  const manifest = images.map(({ names, config, layers }) => {
    const paths = layers.map((layer) => `${sha256(layer)}/layer.tar`)
    paths.forEach((path, index) => files.set(path, layers[index] ?? Buffer.alloc(0)))
    files.set(`${sha256(config)}.json`, config)
    return { Config: `${sha256(config)}.json`, RepoTags: names, Layers: paths }
  })
  const folders = [...files.keys()].filter((path) => path.includes('/')).map((path): Sample => ({ path: path.replace(/\/.*/, ''), type: 'directory' }))
  return sampleTar([...folders, ...[...files].map(([path, content]): Sample => ({ path, content })), { path: 'manifest.json', content: JSON.stringify(manifest) }])
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** A root whose programs, `bash` among them, are busybox's. */
function rootTar(): Buffer {
  const list = spawnSync('/bin/busybox', ['--list'], { encoding: 'utf8' })
  if (list.status !== 0) throw new Error('/bin/busybox --list failed: is busybox-static installed?')
  const applets = list.stdout.trim().split('\n').filter((name) => name !== 'busybox' && name !== 'bash')
  const folders = ['bin', 'etc', 'tmp', 'root', 'home', 'var', 'proc', 'sys', 'dev', 'usr', 'usr/bin', 'sbin', 'var/opt', 'opt', 'mnt', 'run', 'srv']
  return sampleTar([
    ...folders.map((path): Sample => ({ path, type: 'directory', mode: path === 'tmp' ? 0o1777 : 0o755 })),
    { path: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 },
    ...applets.map((name): Sample => ({ path: `bin/${name}`, type: 'symlink', link: 'busybox' })),
    { path: 'bin/bash', content: '#!/bin/sh\nexec /bin/busybox sh "$@"\n', mode: 0o755 },
    { path: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\npostgres:x:70:70:postgres:/var:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' },
    { path: 'etc/group', content: 'root:x:0:\ndaemon:x:1:\npostgres:x:70:\nnobody:x:65534:\n' },
  ])
}
