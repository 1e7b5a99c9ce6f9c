/** What the benchmarks of images put into layers, and how they run a program to its end. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Throws with the program's words when it fails. */
export function command(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): void {
  const result = spawnSync(program, args, { encoding: 'utf8', env })
  if (result.status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${result.status}: ${result.stderr}`)
}

/** 360 MB in three files as programs are made of, and busybox. */
export function largeTree(folder: string): string {
  const tree = treeWithBusybox(folder, 'large')
  const program = readFileSync(process.execPath).subarray(0, 120_000_000)
  for (const name of ['a', 'b', 'c']) writeFileSync(join(tree, name), program)
  return tree
}

/** 20,000 files of a few bytes, and busybox. */
export function treeOfManyFiles(folder: string): string {
  const tree = treeWithBusybox(folder, 'many')
  for (let at = 0; at < 200; at += 1) {
    mkdirSync(join(tree, `d${at}`))
    for (let file = 0; file < 100; file += 1) writeFileSync(join(tree, `d${at}`, `f${file}`), `file ${file} of ${at}\n`)
  }
  return tree
}

function treeWithBusybox(folder: string, name: string): string {
  const tree = join(folder, name)
  mkdirSync(tree)
  cpSync('/bin/busybox', join(tree, 'busybox'))
  return tree
}
