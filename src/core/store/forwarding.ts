/**
 * The transactions of a backend that is behind another.
 *
 * @module
 */

import type { Backend } from "../backend.ts";

/** Passes every transaction on, by `read` if it only reads, else by `write`. */
export abstract class ForwardingBackend {
  createRoom: Backend["createRoom"] = (...args) => this.write((it) => it.createRoom(...args));
  getRoom: Backend["getRoom"] = (id) => this.read((it) => it.getRoom(id));
  listRooms: Backend["listRooms"] = (range) => this.read((it) => it.listRooms(range));
  listRoomsForEndpoint: Backend["listRoomsForEndpoint"] = (...args) =>
    this.read((it) => it.listRoomsForEndpoint(...args));
  deleteRoom: Backend["deleteRoom"] = (...args) => this.write((it) => it.deleteRoom(...args));
  addMember: Backend["addMember"] = (...args) => this.write((it) => it.addMember(...args));
  getMember: Backend["getMember"] = (...args) => this.read((it) => it.getMember(...args));
  listMembers: Backend["listMembers"] = (...args) => this.read((it) => it.listMembers(...args));
  listWaiting: Backend["listWaiting"] = (...args) => this.read((it) => it.listWaiting(...args));
  countMembers: Backend["countMembers"] = (id) => this.read((it) => it.countMembers(id));
  joinRoom: Backend["joinRoom"] = (...args) => this.write((it) => it.joinRoom(...args));
  changeRoomOwner: Backend["changeRoomOwner"] = (...args) =>
    this.write((it) => it.changeRoomOwner(...args));
  handOverRoom: Backend["handOverRoom"] = (...args) => this.write((it) => it.handOverRoom(...args));
  removeMember: Backend["removeMember"] = (...args) => this.write((it) => it.removeMember(...args));
  rekeyRoom: Backend["rekeyRoom"] = (...args) => this.write((it) => it.rekeyRoom(...args));
  putSealedKey: Backend["putSealedKey"] = (...args) => this.write((it) => it.putSealedKey(...args));
  getSealedKey: Backend["getSealedKey"] = (...args) => this.read((it) => it.getSealedKey(...args));
  listSealedKeys: Backend["listSealedKeys"] = (...args) =>
    this.read((it) => it.listSealedKeys(...args));
  pruneSealedKeys: Backend["pruneSealedKeys"] = (...args) =>
    this.write((it) => it.pruneSealedKeys(...args));
  addUser: Backend["addUser"] = (...args) => this.write((it) => it.addUser(...args));
  getUser: Backend["getUser"] = (key) => this.read((it) => it.getUser(key));
  listUsers: Backend["listUsers"] = (range) => this.read((it) => it.listUsers(range));
  setUserStatus: Backend["setUserStatus"] = (...args) =>
    this.write((it) => it.setUserStatus(...args));
  setUserRole: Backend["setUserRole"] = (...args) => this.write((it) => it.setUserRole(...args));
  deleteUser: Backend["deleteUser"] = (...args) => this.write((it) => it.deleteUser(...args));
  createInvite: Backend["createInvite"] = (...args) => this.write((it) => it.createInvite(...args));
  getInvite: Backend["getInvite"] = (id) => this.read((it) => it.getInvite(id));
  listInvites: Backend["listInvites"] = (range) => this.read((it) => it.listInvites(range));
  consumeInvite: Backend["consumeInvite"] = (...args) =>
    this.write((it) => it.consumeInvite(...args));
  cancelInvite: Backend["cancelInvite"] = (...args) => this.write((it) => it.cancelInvite(...args));
  pruneInvites: Backend["pruneInvites"] = (...args) => this.write((it) => it.pruneInvites(...args));
  restore: Backend["restore"] = (...args) => this.write((it) => it.restore(...args));

  protected abstract read<T>(call: (it: Backend) => Promise<T>): Promise<T>;

  protected abstract write<T>(call: (it: Backend) => Promise<T>): Promise<T>;
}
