/**
 * Opens the kernel room: three workers (one for quick calls, one for calls that may take long, one that polls) and the
 * confined ones on demand. Main threads only pass messages.
 */
import { stat } from 'node:fs/promises'
import { Socket } from 'node:net'
import { type Clock, systemClock } from '#base/clock.ts'
import type { Cgroups, CgroupMode } from '../contract/cgroups.ts'
import type { Kernel, KernelFacts } from '../contract/kernel.ts'
import type { Links } from '../contract/links.ts'
import type { Mounts } from '../contract/mounts.ts'
import type { Namespaces } from '../contract/namespaces.ts'
import type { Nftables } from '../contract/nftables.ts'
import type { Poller } from '../contract/poller.ts'
import type { Processes } from '../contract/processes.ts'
import { ConfinedWorkers, type JobLimits } from './confined/confinedJobs.ts'
import { ExpectedMove } from './expected-move.ts'
import { watchOomKills } from './oom-kills.ts'
import { createOwned } from './owned-namespaces.ts'
import { KernelPoller } from './poller/poller.ts'
import { probe } from './probe.ts'
import { KernelProcesses } from './processes.ts'
import { KernelThread } from './thread.ts'

export interface OpenKernelOptions {
  readonly clock?: Clock
}

/** A streaming job weighs some 9 MB while it runs. */
const confinedJobs: JobLimits = { alone: 2, streaming: 64 }

/** libuv has at most this many pool threads by default; a few more calls do no harm. */
const poolThreads = 8

/**
 * Threads of libuv's pool share the root folder of the thread that made them. They must all be born of the main thread,
 * before any worker moves into another root, or every later asynchronous fs call could end up in a container's root.
 */
async function fillThreadPool(): Promise<void> {
  await Promise.all(Array.from({ length: poolThreads }, () => stat('/')))
}

export async function openKernel(options: OpenKernelOptions = {}): Promise<Kernel & AsyncDisposable> {
  const clock = options.clock ?? systemClock
  await fillThreadPool()
  const quick = new KernelThread('kernel-quick')
  const slow = new KernelThread('kernel-slow')
  const poller = new KernelPoller(clock)
  const confined = new ConfinedWorkers(confinedJobs, clock)
  const [mode] = await Promise.all([quick.call('cgroupMode'), poller.ready()])
  const processes = new KernelProcesses({ thread: quick, poller, clock })
  const move = new ExpectedMove(quick)
  const cgroups = cgroupsOver(mode, { quick, slow, move })
  let facts: Promise<KernelFacts> | undefined
  return {
    mounts: mountsOver({ quick, slow }),
    namespaces: namespacesOver({ quick, slow, processes }),
    links: linksOver(quick),
    nftables: nftablesOver(quick),
    cgroups,
    processes,
    poller: pollerOver(poller, { quick, slow }),
    confined,
    seccomp: { compile: async (profile) => Buffer.from(await slow.call('compileSeccomp', profile)) },
    probe: () => (facts ??= probe({ processes, cgroups })),
    trimMemory: async () => {
      await slow.call('trimMemory')
      await quick.call('trimMemory')
    },
    async [Symbol.asyncDispose]() {
      await move.ended()
      await confined[Symbol.asyncDispose]()
      await poller[Symbol.asyncDispose]()
      await Promise.all([quick[Symbol.asyncDispose](), slow[Symbol.asyncDispose]()])
    },
  }
}

interface Threads {
  readonly quick: KernelThread
  /** Unmounts write back what is dirty, removals wait for the kernel's grace periods. */
  readonly slow: KernelThread
}

function pollerOver(poller: KernelPoller, { quick, slow }: Threads): Poller {
  return {
    connectSeqpacket: (path, connection) => poller.connectSeqpacket(path, connection),
    sendDatagram: (path, data) => quick.call('sendDatagram', { path, ...(data === undefined ? {} : { data }) }),
    bindBoth: (target) => quick.call('bindBoth', target),
    connectTcp: async (target) => new Socket({ fd: await slow.call('dialTcp', target), allowHalfOpen: true }),
  }
}

function mountsOver({ quick, slow }: Threads): Mounts {
  return {
    mount: (request) => quick.call('mount', request),
    bindInside: (request) => quick.call('bindInside', request),
    bindShifted: (request) => quick.call('bindShifted', request),
    overlay: (request) => quick.call('overlay', request),
    unmount: (target, options = {}) => slow.call('unmount', { target, lazy: options.lazy ?? false }),
    table: (under) => quick.call('mountTable', under === undefined ? {} : { under }),
  }
}

function namespacesOver({ quick, slow, processes }: Threads & { readonly processes: Processes }): Namespaces {
  return {
    create: (request) => (request.owner === undefined ? quick.call('createNamespaces', request) : createOwned({ ...request, owner: request.owner }, { processes, thread: quick })),
    remove: (path) => slow.call('removeNamespace', { path }),
    pinned: (path) => quick.call('isPinned', { path }),
  }
}

function linksOver(quick: KernelThread): Links {
  return {
    ensureBridge: (request) => quick.call('ensureBridge', request),
    attach: (request) => quick.call('attach', request),
    attachMacvlan: (request) => quick.call('attachMacvlan', request),
    ensureVlan: (request) => quick.call('ensureVlan', request),
    ensurePair: (request) => quick.call('ensurePair', request),
    deleteLink: (name, where = {}) => quick.call('deleteLink', { ...where, name }),
    up: (name, where = {}) => quick.call('linkUp', { ...where, name }),
    addAddress: (name, address, where = {}) => quick.call('addAddress', { ...where, name, address }),
    deleteAddress: (name, address, where = {}) => quick.call('deleteAddress', { ...where, name, address }),
    route: (route, where = {}) => quick.call('addRoute', { ...where, route }),
    deleteRoute: (route, where = {}) => quick.call('deleteRoute', { ...where, route }),
    list: (where = {}) => quick.call('listLinks', where),
    statistics: (where = {}) => quick.call('linkStatistics', where),
    setSysctl: (name, value, where = {}) => quick.call('setSysctl', { ...where, name, value }),
  }
}

function nftablesOver(quick: KernelThread): Nftables {
  return {
    apply: (script, where = {}) => quick.call('applyNft', { ...where, script }),
    list: (table, where = {}) => quick.call('listNft', { ...where, table }),
  }
}

function cgroupsOver(mode: CgroupMode, { quick, slow, move }: Threads & { readonly move: ExpectedMove }): Cgroups {
  return {
    mode,
    abilities: () => quick.call('cgroupAbilities'),
    create: (path, limits) => quick.call('createCgroup', limits === undefined ? { path } : { path, limits }),
    update: (path, limits) => quick.call('updateCgroup', { path, limits }),
    expectMove: () => move.begin(),
    add: (path, pid) => quick.call('addToCgroup', { path, pid }),
    pids: (path) => quick.call('cgroupPids', { path }),
    stats: (path) => quick.call('cgroupStats', { path }),
    watchOomKills,
    kill: (path) => slow.call('killCgroup', { path }),
    freeze: (path) => slow.call('freezeCgroup', { path, frozen: true }),
    thaw: (path) => slow.call('freezeCgroup', { path, frozen: false }),
    remove: (path) => slow.call('removeCgroup', { path }),
  }
}
