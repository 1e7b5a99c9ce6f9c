/** Device nodes that a container gets: those asked for by `--device`, and with `--privileged` all that the host has. */
import { readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { ContainerResources, ContainerSpec, DeviceRate } from '../contract/containers.ts'
import type { DeviceSpec, ResourcesSpec, ThrottleSpec } from '../contract/runtime-spec.ts'

export type GrantedDevice = DeviceSpec & { readonly access: string }

const blockBit = 0o060000
const characterBit = 0o020000
const formatMask = 0o170000

/** makedev(3): the kernel's 64-bit packing. */
function majorMinor(rdev: number): { readonly major: number; readonly minor: number } {
  const value = BigInt(rdev)
  const major = Number(((value >> 8n) & 0xfffn) | ((value >> 32n) & ~0xfffn))
  const minor = Number((value & 0xffn) | ((value >> 12n) & ~0xffn & 0xffffffffn))
  return { major, minor }
}

async function deviceAt(hostPath: string, containerPath: string, access: string): Promise<GrantedDevice | undefined> {
  const { mode, rdev, uid, gid } = await stat(hostPath)
  const format = mode & formatMask
  if (format !== blockBit && format !== characterBit) return undefined
  return { type: format === blockBit ? 'b' : 'c', path: containerPath, ...majorMinor(rdev), fileMode: mode & 0o777, uid, gid, access }
}

export async function devicesOf(spec: ContainerSpec): Promise<readonly GrantedDevice[]> {
  for (const { driver, capabilities } of spec.deviceRequests ?? []) {
    // No driver for requested devices exists here; dockerd says so in the same words, at the start.
    throw new Fault('internal', `could not select device driver "${driver}" with capabilities: [${capabilities.map((set) => `[${set.join(' ')}]`).join(' ')}]`)
  }
  const found: GrantedDevice[] = []
  if (spec.security?.privileged === true) found.push(...(await hostDevices('/dev')))
  for (const { hostPath, containerPath, permissions } of spec.devices ?? []) {
    try {
      found.push(...(await askedDevices(hostPath, { containerPath, permissions })))
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
      throw new Fault('invalidArgument', `error gathering device information while adding custom device "${hostPath}": no such file or directory`)
    }
  }
  return found
}

/** One node, or with a folder every node below it; a link stands for what it points to. */
async function askedDevices(hostPath: string, { containerPath, permissions }: { readonly containerPath: string; readonly permissions: string }): Promise<GrantedDevice[]> {
  const resolved = await realpath(hostPath)
  if ((await stat(resolved)).isDirectory()) {
    const below = await hostDevices(resolved)
    if (below.length > 0) return below.map((device) => ({ ...device, path: `${containerPath}${device.path.slice(resolved.length)}`, access: permissions }))
  }
  const device = await deviceAt(resolved, containerPath, permissions)
  if (device === undefined) throw new Fault('invalidArgument', `error gathering device information while adding custom device "${hostPath}": not a device node`)
  return [device]
}

/** The block-I/O limits with devices by number; `invalidArgument` for a path that is not there. */
export async function blockIoOf(resources: ContainerResources): Promise<NonNullable<ResourcesSpec['blockIO']>> {
  const rates = async (devices: readonly DeviceRate[] = []): Promise<ThrottleSpec[]> => Promise.all(devices.map(async ({ path, rate }) => ({ ...(await numbersOf(path)), rate })))
  const limits = {
    weightDevice: await Promise.all((resources.blkioWeightDevices ?? []).map(async ({ path, weight }) => ({ ...(await numbersOf(path)), weight }))),
    throttleReadBpsDevice: await rates(resources.blkioReadBps),
    throttleWriteBpsDevice: await rates(resources.blkioWriteBps),
    throttleReadIOPSDevice: await rates(resources.blkioReadIops),
    throttleWriteIOPSDevice: await rates(resources.blkioWriteIops),
  }
  return { ...(resources.blkioWeight ? { weight: resources.blkioWeight } : {}), ...Object.fromEntries(Object.entries(limits).filter(([, list]) => list.length > 0)) }
}

async function numbersOf(path: string): Promise<{ readonly major: number; readonly minor: number }> {
  try {
    return majorMinor((await stat(path)).rdev)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    throw new Fault('invalidArgument', `stat ${path}: no such file or directory`)
  }
}

/** Folders of /dev that hold no nodes of the machine but of this mount or session. */
const skipped = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev', 'console'])

async function hostDevices(folder: string): Promise<GrantedDevice[]> {
  const found: GrantedDevice[] = []
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (skipped.has(entry.name)) continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) found.push(...(await hostDevices(path)))
    else if (entry.isBlockDevice() || entry.isCharacterDevice()) {
      const device = await deviceAt(path, path, 'rwm')
      if (device !== undefined) found.push(device)
    }
  }
  return found
}
