-- The shop's tables and what they hold at first.
CREATE TABLE customers (id serial PRIMARY KEY,
    email text UNIQUE, name text, last_login timestamptz);
CREATE TABLE products (id serial PRIMARY KEY,
    category int, name text, price numeric, stock int, sold int DEFAULT 0);
CREATE TABLE reviews (id serial PRIMARY KEY,
    product_id int REFERENCES products, stars int, body text);
CREATE TABLE cart (customer_id int, product_id int, quantity int, added timestamptz DEFAULT now());
CREATE TABLE orders (id serial PRIMARY KEY,
    customer_id int REFERENCES customers, total numeric, placed timestamptz DEFAULT now());
CREATE TABLE order_items (order_id int REFERENCES orders, product_id int REFERENCES products, quantity int);
CREATE TABLE payments (order_id int PRIMARY KEY REFERENCES orders, amount numeric);
CREATE TABLE report (day date, category int, sold bigint);
CREATE TABLE audit (at timestamptz DEFAULT now(), job text, note text);
CREATE TABLE events (at timestamptz DEFAULT now(), customer_id int,
    action text, payload char(1500) DEFAULT '') TABLESPACE small;
INSERT INTO customers (email, name)
    SELECT 'c' || i || '@example.org', 'customer ' || i FROM generate_series(1, 500) i;
INSERT INTO products (category, name, price, stock)
    SELECT i % 12, 'product ' || i, i % 90 + 5, 100000 FROM generate_series(1, 200) i;
INSERT INTO reviews (product_id, stars, body)
    SELECT i % 200 + 1, i % 5 + 1, 'review ' || i FROM generate_series(1, 2000) i;
INSERT INTO orders (customer_id, total)
    SELECT i % 500 + 1, i % 70 FROM generate_series(1, 3000) i;
INSERT INTO order_items
    SELECT i % 3000 + 1, i % 200 + 1, i % 4 + 1 FROM generate_series(1, 6000) i;
CREATE INDEX ON order_items (order_id);
CREATE INDEX ON orders (customer_id);
CREATE INDEX ON cart (customer_id);
ALTER TABLE cart OWNER TO batch;
GRANT ALL ON ALL TABLES IN SCHEMA public TO app, batch;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app, batch;
