-- Who called to have a customer erased, by the role and the name that the credential showed; empty where none had to be shown.
alter table erasures add column caller text not null default '';
