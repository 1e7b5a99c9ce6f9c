/** Every operation a kernel worker knows. Each is synchronous: it runs to its end on the worker's thread. */
import { addToCgroup, cgroupAbilities, cgroupMode, cgroupPids, cgroupStats, createCgroup, freezeCgroup, killCgroup, ownGroupFile, removeCgroup, updateCgroup } from './cgroups.ts'
import { identify } from './identity.ts'
import { bindInside, bindShifted, mount, mountTable, overlay, unmount } from './mounts.ts'
import { addAddress, addRoute, attach, attachMacvlan, deleteAddress, deleteLink, deleteRoute, ensureBridge, ensurePair, ensureVlan, linkStatistics, linkUp, listLinks, setSysctl } from './links.ts'
import { createNamespaces, isPinned, pinNamespacesOf, removeNamespace } from './namespaces.ts'
import { applyNft, listNft } from './nftables.ts'
import { bindBoth, dialTcp, sendDatagram } from './dial.ts'
import { sealExecutable } from './seal.ts'
import { compileSeccomp } from './seccomp.ts'
import { signalProcess, spawn } from './spawn.ts'
import { trimMemory } from './trim.ts'

export const operations = {
  mount,
  bindInside,
  bindShifted,
  overlay,
  unmount,
  mountTable,
  createNamespaces,
  pinNamespacesOf,
  removeNamespace,
  isPinned,
  ensureBridge,
  attach,
  attachMacvlan,
  ensureVlan,
  ensurePair,
  deleteLink,
  linkUp,
  addAddress,
  deleteAddress,
  addRoute,
  deleteRoute,
  listLinks,
  linkStatistics,
  setSysctl,
  applyNft,
  listNft,
  cgroupAbilities,
  cgroupMode,
  createCgroup,
  updateCgroup,
  addToCgroup,
  ownGroupFile,
  cgroupPids,
  cgroupStats,
  killCgroup,
  freezeCgroup,
  removeCgroup,
  spawn,
  signalProcess,
  identify,
  dialTcp,
  bindBoth,
  sendDatagram,
  compileSeccomp,
  sealExecutable,
  trimMemory,
}

export type Operations = typeof operations
export type OperationName = keyof Operations
