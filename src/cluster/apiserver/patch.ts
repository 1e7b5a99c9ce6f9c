/**
 * The patches of the API: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386) and Kubernetes' strategic merge patch. Each
 * turns the current object into what the client wants to have instead; the result is then treated as an update.
 */
import fastJsonPatch, { type Operation } from 'fast-json-patch'
import { Fault } from '#base/fault.ts'
import { isJsonArray, isJsonObject, textOf, type Json, type JsonObject } from '#schema/json.ts'
import type { AnyKind } from '#schema/kind.ts'
import { mergePatch } from '#schema/merge-patch.ts'
import { strategicMerge } from '#schema/strategic-merge.ts'
import { badRequest } from './refusals.ts'

export type PatchType = 'json' | 'merge' | 'strategic'

/** Operations in one JSON Patch; upstream's bound. */
const mostOperations = 10_000

export function applyPatch(kind: AnyKind, current: JsonObject, patch: unknown, type: PatchType): JsonObject {
  switch (type) {
    case 'json':
      return applyJsonPatch(current, patch)
    case 'merge': {
      if (!isJsonObject(patch)) throw badRequest('a merge patch is a JSON object')
      const merged = mergePatch(current, patch)
      return isJsonObject(merged) ? merged : {}
    }
    case 'strategic':
      return strategicMerge(kind, current, patch)
  }
}

const operations = new Set(['add', 'remove', 'replace', 'move', 'copy', 'test'])

function checkOperation(value: Json, index: number): void {
  const where = `operation ${index} of the JSON patch`
  if (!isJsonObject(value)) throw badRequest(`${where} is no object`)
  const { op, path, from } = value
  if (typeof op !== 'string' || !operations.has(op)) throw badRequest(`${where}: op is "${textOf(op)}", it must be one of ${[...operations].join(', ')}`)
  checkPointer(path, `${where}: path`)
  if (op === 'move' || op === 'copy') checkPointer(from, `${where}: from`)
  if ((op === 'add' || op === 'replace' || op === 'test') && !Object.hasOwn(value, 'value')) throw badRequest(`${where}: value is missing`)
}

/** RFC 6901. The library accepts indexes with leading zeros and walks into prototypes if told to: neither comes through here. */
function checkPointer(pointer: Json | undefined, where: string): void {
  if (typeof pointer !== 'string' || (pointer !== '' && !pointer.startsWith('/'))) throw badRequest(`${where} is no JSON pointer: "${textOf(pointer)}"`)
  for (const step of pointer.split('/').slice(1)) {
    if (/~(?![01])/.test(step)) throw badRequest(`${where} has a "~" that is followed by neither 0 nor 1: "${pointer}"`)
    if (/^0\d+$/.test(step)) throw badRequest(`${where} has an index with a leading zero: "${pointer}"`)
    if (step === '__proto__' || step === 'prototype' || step === 'constructor') throw badRequest(`${where} names "${step}", which JSON patches cannot reach`)
  }
}

function applyJsonPatch(current: JsonObject, patch: unknown): JsonObject {
  if (!isJsonArray(patch)) throw badRequest('a JSON patch is a list of operations')
  if (patch.length > mostOperations) throw new Fault('tooLarge', `the JSON patch has ${patch.length} operations: at most ${mostOperations} are allowed`)
  patch.forEach(checkOperation)
  try {
    const copy: JsonObject = structuredClone(current)
    const { newDocument } = fastJsonPatch.applyPatch(copy, structuredClone(patch) as unknown as Operation[], true, true)
    if (!isJsonObject(newDocument)) throw badRequest('the JSON patch leaves something that is no object')
    return newDocument
  } catch (error) {
    if (error instanceof Fault) throw error
    const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
    throw new Fault('unprocessable', `the server rejected our request due to an error in our request: ${message}`, { cause: error })
  }
}
