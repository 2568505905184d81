-- What Supabase's Auth needs of a database that is not Supabase's: its role and its schema. It
-- makes its tables by itself.
\getenv password POSTGRES_PASSWORD
CREATE USER supabase_auth_admin NOINHERIT CREATEROLE LOGIN NOREPLICATION PASSWORD :'password';
CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
GRANT CREATE ON DATABASE postgres TO supabase_auth_admin;
ALTER USER supabase_auth_admin SET search_path = 'auth';
