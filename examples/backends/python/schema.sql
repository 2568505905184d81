create table if not exists users (name text primary key, moderator boolean not null default false, banned boolean not null default false, last_seen timestamptz);
create table if not exists sessions (token text primary key, name text not null references users);
create table if not exists rooms (topic text primary key, visits integer not null default 0, posts integer not null default 0);
create table if not exists members (topic text references rooms, name text references users, primary key (topic, name));
create table if not exists messages (id integer primary key generated always as identity, topic text not null references rooms, name text not null references users, body text not null);
create table if not exists told (id text primary key); -- the events that have been handled

insert into users (name, moderator) values ('ann', false), ('bob', false), ('mia', true) on conflict do nothing;
insert into rooms (topic) values ('room:lobby'), ('room:staff') on conflict do nothing;
insert into members values ('room:lobby', 'ann'), ('room:lobby', 'bob'), ('room:lobby', 'mia'), ('room:staff', 'mia') on conflict do nothing;
