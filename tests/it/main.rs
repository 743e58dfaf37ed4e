
mod models;
