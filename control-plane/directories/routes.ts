import { Type } from 'typebox';
import { listOf, ObjectParams } from '../../protocol/http/common.ts';
import { DirectoryChange, DirectoryCreate, DirectoryView } from '../../protocol/http/directory.ts';
import { assertMayChange } from '../auth/principal.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import * as directories from './repository.ts';

const DEFAULT_MODE = 0o775;

/** Directories of the file tree. */
export function registerDirectories(app: App, { database }: Services): void {
  app.get(
    '/v1/directories',
    { config: { policy: 'read' }, schema: { summary: 'Directories of the file tree', response: { 200: listOf(DirectoryView) } } },
    async (request) => {
      const { teamId } = principalOf(request);
      return { items: await database.inTeam(teamId, (tx) => directories.listDirectories(tx, teamId)) };
    },
  );

  app.get(
    '/v1/directories/:name',
    { config: { policy: 'read' }, schema: { summary: 'A directory', params: ObjectParams, response: { 200: DirectoryView } } },
    async (request) => {
      const { teamId } = principalOf(request);
      return database.inTeam(teamId, (tx) => directories.findDirectory(tx, teamId, request.params.name));
    },
  );

  app.post(
    '/v1/directories',
    { config: { policy: 'change' }, schema: { summary: 'Make a directory', body: DirectoryCreate, response: { 201: DirectoryView } } },
    async (request, reply) => {
      const principal = principalOf(request);
      const { path, mode = DEFAULT_MODE } = request.body;
      directories.assertPath(path);
      const directory = await database.inTeam(principal.teamId, async (tx) => {
        const id = await directories.createDirectory(tx, principal, path, mode);
        return directories.findDirectory(tx, principal.teamId, id);
      });
      return reply.code(201).send(directory);
    },
  );

  app.patch(
    '/v1/directories/:name',
    {
      config: { policy: 'change' },
      schema: {
        summary: 'Move a directory with everything in it, or change its mode',
        params: ObjectParams,
        body: DirectoryChange,
        response: { 200: DirectoryView },
      },
    },
    async (request) => {
      const principal = principalOf(request);
      const { path, mode } = request.body;
      if (path !== undefined) directories.assertPath(path);
      return database.inTeam(principal.teamId, async (tx) => {
        const directory = await directories.findDirectory(tx, principal.teamId, request.params.name);
        assertMayChange(principal, directory.ownerId, `the directory ${directory.path}`);
        if (path !== undefined) await directories.moveDirectory(tx, principal.teamId, directory.path, path);
        if (mode !== undefined) await directories.changeMode(tx, principal.teamId, directory.id, mode);
        return directories.findDirectory(tx, principal.teamId, directory.id);
      });
    },
  );

  app.delete(
    '/v1/directories/:name',
    {
      config: { policy: 'change' },
      schema: { summary: 'Delete an empty directory', params: ObjectParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      await database.inTeam(principal.teamId, async (tx) => {
        const directory = await directories.findDirectory(tx, principal.teamId, request.params.name);
        assertMayChange(principal, directory.ownerId, `the directory ${directory.path}`);
        await directories.deleteDirectory(tx, principal.teamId, directory.id);
      });
      return reply.code(204).send(null);
    },
  );
}
