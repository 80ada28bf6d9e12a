# shellcheck shell=bash
# A workload that brings every kind of event that a replica survives into a source's log. lib.sh is sourced before.
#
# Happy path: events_options says with which options both servers start, events_first and events_second write; in between the
# test restarts what it likes. What a pair of flavours cannot replicate even without anything in between (JSON and compressed
# transactions to MariaDB, for one) is left out for that pair alone, by the words in EVENTS_WITHOUT.

# Options of `server start` for one side of a pair, one a line.
events_options() { # SIDE(source|replica) SOURCE REPLICA MODE
    local name=$2
    [ "$1" = source ] || name=$3
    printf -- '--opt\n--max-allowed-packet=64M\n'
    # It takes no value of more than a tenth of its redo log. (MyISAM would, but a replica that loses its connection in the
    # middle of such a transaction cannot go on.)
    [ "$name" != mysql-5.6 ] || printf -- '--opt\n--innodb-log-file-size=112M\n'
    case $1:$2:$3 in
    source:mysql-9.7:mariadb-*) printf -- '--opt\n--collation-server=utf8mb4_general_ci\n' ;;
    # A MySQL replica with GTIDs on cannot apply what has none of MySQL's.
    replica:mariadb-*:mysql-*) printf -- '--opt\n--gtid-mode=OFF\n--opt\n--enforce-gtid-consistency=OFF\n' ;;
    esac
}

# What the source's flavour has, and the replica's can apply: words for events_has.
events_features() { # SOURCE REPLICA
    case $1 in
    mysql-9.7)
        printf 'rows_query empty_gtid '
        case $2 in mysql-9.7) printf 'json compressed tagged ctas xa ' ;; esac ;;
    mysql-5.6) printf 'rows_query empty_gtid xa ' ;;
    mariadb-*)
        printf 'ctas mixed_engines '
        case $2 in mariadb-*) printf 'xa mariadb_compressed domains sequence two_phase ' ;; esac ;;
    esac
}
EVENTS_FEATURES=
events_has() {
    case " $EVENTS_FEATURES " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

# ---- the first half ----------------------------------------------------------------------------------------------------------

events_first() { # NAME
    printf '1\tloaded\n2\tloaded too\n3\t\\N\n' >"$SCRATCH/load.txt"
    chmod 644 "$SCRATCH/load.txt"
    {
        events_rows
        events_statements
        if events_has xa; then events_xa; fi
        if events_has mixed_engines; then events_mixed_engines; fi
    } | sql "$1"
}

events_rows() {
    cat <<'SQL'
CREATE DATABASE ev;
USE ev;
CREATE TABLE marker (id INT NOT NULL PRIMARY KEY) ENGINE=InnoDB;
CREATE TABLE plain (id INT NOT NULL PRIMARY KEY, v VARCHAR(180), n DECIMAL(12,3), t DATETIME) ENGINE=InnoDB;
INSERT INTO plain VALUES (1, 'one', 1.5, '2001-02-03 04:05:06');
INSERT INTO plain VALUES (2, 'two', -2, NULL), (3, 'three', 3.25, NULL), (4, NULL, NULL, NULL);
BEGIN; INSERT INTO plain VALUES (5, 'five', 5, NULL); UPDATE plain SET v = CONCAT(v, '!') WHERE id < 4;
DELETE FROM plain WHERE id = 2; COMMIT;
BEGIN; INSERT INTO plain VALUES (6, 'gone', 6, NULL); ROLLBACK;
BEGIN; INSERT INTO plain VALUES (7, 'kept', 7, NULL); SAVEPOINT s; INSERT INTO plain VALUES (8, 'gone', 8, NULL);
ROLLBACK TO s; INSERT INTO plain VALUES (9, 'kept', 9, NULL); COMMIT;
CREATE TABLE types (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, a TINYINT, b SMALLINT UNSIGNED, c MEDIUMINT, d BIGINT UNSIGNED,
    f FLOAT, g DOUBLE, h BIT(12), i DATE, j TIME, k YEAR, l TIMESTAMP NULL, m TIMESTAMP(3) NULL, n ENUM('x', 'y'),
    o SET('p', 'q'), p CHAR(9), q VARBINARY(300), r BLOB, s TEXT) ENGINE=InnoDB;
INSERT INTO types VALUES (NULL, -1, 65535, -8388608, 18446744073709551615, 0.5, -0.25, b'101', '1999-12-31', '-12:13:14', 2024,
    '2020-02-03 04:05:06', '2020-02-03 04:05:06.789', 'y', 'p,q', 'char', REPEAT('v', 299), 'blob', 'text');
INSERT INTO types (a) VALUES (1), (2), (3);
CREATE TABLE minimal (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), w INT) ENGINE=InnoDB;
SET SESSION binlog_row_image = 'MINIMAL';
INSERT INTO minimal VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3); UPDATE minimal SET v = 'z' WHERE id = 2; DELETE FROM minimal WHERE id = 1;
SET SESSION binlog_row_image = 'NOBLOB'; UPDATE types SET a = 9 WHERE id = 1;
SET SESSION binlog_row_image = 'FULL';
ALTER TABLE plain ADD COLUMN extra INT DEFAULT 9;
CREATE INDEX by_v ON plain (v(50));
CREATE TABLE parent (id INT NOT NULL PRIMARY KEY) ENGINE=InnoDB;
CREATE TABLE child (id INT NOT NULL PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE) ENGINE=InnoDB;
INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 1), (2, 1), (3, 2); DELETE FROM parent WHERE id = 1;
CREATE VIEW seen AS SELECT id, v FROM plain;
CREATE TRIGGER stamp BEFORE INSERT ON plain FOR EACH ROW SET NEW.t = COALESCE(NEW.t, '2020-01-01 00:00:00');
INSERT INTO plain (id, v) VALUES (30, 'ünïcödé');
CREATE PROCEDURE twice(x INT) MODIFIES SQL DATA INSERT INTO plain (id, v) VALUES (x, 'called'), (x + 1, 'called');
CALL twice(40);
CREATE TABLE emptied (id INT NOT NULL PRIMARY KEY) ENGINE=InnoDB; INSERT INTO emptied VALUES (1); TRUNCATE TABLE emptied;
CREATE TABLE renamed (id INT NOT NULL PRIMARY KEY) ENGINE=InnoDB; RENAME TABLE renamed TO after_rename; DROP TABLE after_rename;
CREATE TABLE nontrans (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)) ENGINE=MyISAM;
INSERT INTO nontrans VALUES (1, 'a'), (2, 'b'); UPDATE nontrans SET v = 'c'; DELETE FROM nontrans WHERE id = 1;
FLUSH LOGS;
SQL
    if events_has ctas; then echo "CREATE TABLE copied AS SELECT * FROM plain; ALTER TABLE copied ADD PRIMARY KEY (id);"; fi
    if events_has rows_query; then
        echo "SET SESSION binlog_rows_query_log_events = ON; UPDATE plain SET extra = 1; SET SESSION binlog_rows_query_log_events = OFF;"
    fi
}

# Statement format: INTVAR, RAND, USER_VAR, LOAD DATA, temporary tables, a transaction that changes nothing; then mixed.
events_statements() {
    cat <<SQL
SET SESSION binlog_format = 'STATEMENT';
CREATE TABLE st (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v VARCHAR(60), r DOUBLE, d DATETIME) ENGINE=InnoDB;
INSERT INTO st (v, r) VALUES ('rand', FLOOR(RAND() * 1000000)), ('rand', FLOOR(RAND() * 1000000));
SET @u = 'a user''s variable', @n = NULL, @i = -12, @d = 1.5;
INSERT INTO st (v, r) VALUES (@u, @i), (@n, @d);
INSERT INTO st (v, d) VALUES ('now', NOW());
INSERT INTO st (v, r) VALUES ('last', LAST_INSERT_ID());
UPDATE st SET v = 'nobody' WHERE id = -1;
CREATE TABLE loaded (id INT NOT NULL PRIMARY KEY, v VARCHAR(30)) ENGINE=InnoDB;
LOAD DATA INFILE '$SCRATCH/load.txt' INTO TABLE loaded;
CREATE TEMPORARY TABLE passing (id INT NOT NULL PRIMARY KEY) ENGINE=InnoDB;
INSERT INTO passing VALUES (11), (12);
INSERT INTO st (v, r) SELECT 'from a temporary table', id FROM passing ORDER BY id;
DROP TEMPORARY TABLE passing;
BEGIN; INSERT INTO st (v) VALUES ('one'); SAVEPOINT p; INSERT INTO st (v) VALUES ('two'); ROLLBACK TO p; INSERT INTO st (v) VALUES ('three'); COMMIT;
SET SESSION binlog_format = 'MIXED';
INSERT INTO st (v) VALUES ('mixed');
INSERT INTO st (v) VALUES (UUID());
SET SESSION binlog_format = 'ROW';
FLUSH LOGS;
SQL
}

events_xa() {
    cat <<'SQL'
XA START 'x1'; INSERT INTO plain (id, v) VALUES (120, 'xa committed'); XA END 'x1'; XA PREPARE 'x1'; XA COMMIT 'x1';
XA START 'x2'; INSERT INTO plain (id, v) VALUES (121, 'xa rolled back'); XA END 'x2'; XA PREPARE 'x2'; XA ROLLBACK 'x2';
XA START 'x3', 'b', 7; INSERT INTO plain (id, v) VALUES (122, 'one phase'); XA END 'x3', 'b', 7; XA COMMIT 'x3', 'b', 7 ONE PHASE;
SQL
}

events_mixed_engines() {
    cat <<'SQL'
BEGIN; INSERT INTO plain (id, v) VALUES (130, 'gone'); INSERT INTO nontrans VALUES (13, 'stays'); ROLLBACK;
BEGIN; INSERT INTO plain (id, v) VALUES (131, 'kept'); INSERT INTO nontrans VALUES (14, 'stays'); COMMIT;
SQL
}

# ---- the second half: what is large, and what only one flavour has --------------------------------------------------------------

events_second() { # NAME
    {
        echo 'USE ev;'
        events_large
        if events_has empty_gtid; then events_empty "$1"; fi
        if events_has json; then events_json; fi
        if events_has compressed; then events_compressed; fi
        if events_has tagged; then events_tagged; fi
        if events_has mariadb_compressed; then events_mariadb_compressed; fi
        if events_has domains; then events_domains; fi
        if events_has sequence; then events_sequence; fi
        if events_has two_phase; then events_two_phase; fi
    } | sql "$1"
}

events_large() {
    cat <<'SQL'
CREATE TABLE digits (d INT NOT NULL PRIMARY KEY) ENGINE=InnoDB;
INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
CREATE TABLE many (id INT NOT NULL PRIMARY KEY, v VARCHAR(40)) ENGINE=InnoDB;
INSERT INTO many SELECT a.d * 10000 + b.d * 1000 + c.d * 100 + e.d * 10 + f.d, CONCAT('row ', a.d, b.d, c.d, e.d, f.d)
    FROM digits a, digits b, digits c, digits e, digits f;
CREATE TABLE big (id INT NOT NULL PRIMARY KEY, b LONGBLOB) ENGINE=InnoDB;
INSERT INTO big VALUES (1, REPEAT('0123456789abcdef', 1310720));
INSERT INTO big VALUES (2, REPEAT('z', 16777215 - 40)), (3, 'small');
UPDATE big SET b = 'no more' WHERE id = 2;
FLUSH LOGS;
FLUSH LOGS;
SQL
}

events_empty() { # NAME
    local uuid
    uuid=$(sql "$1" 'SELECT @@GLOBAL.server_uuid')
    printf "SET gtid_next = '%s:1000001'; BEGIN; COMMIT; SET gtid_next = 'AUTOMATIC';\n" "$uuid"
    printf "SET gtid_next = '11111111-2222-3333-4444-555555555555:7'; INSERT INTO digits VALUES (77); SET gtid_next = 'AUTOMATIC';\n"
}

events_json() {
    cat <<'SQL'
CREATE TABLE js (id INT NOT NULL PRIMARY KEY, j JSON) ENGINE=InnoDB;
INSERT INTO js VALUES (1, JSON_OBJECT('a', 1, 'b', REPEAT('x', 300), 'c', JSON_ARRAY(1, 2, 3)));
SET SESSION binlog_row_value_options = 'PARTIAL_JSON'; UPDATE js SET j = JSON_SET(j, '$.a', 2);
SET SESSION binlog_row_value_options = '';
SQL
}

events_compressed() {
    cat <<'SQL'
SET SESSION binlog_transaction_compression = ON;
INSERT INTO plain (id, v) VALUES (200, REPEAT('compressed', 15)), (201, REPEAT('compressed', 15));
UPDATE many SET v = CONCAT(v, '.') WHERE id < 20000;
INSERT INTO big VALUES (5, REPEAT('compresses well ', 1310720));
XA START 'z1'; INSERT INTO plain (id, v) VALUES (202, 'xa compressed'); XA END 'z1'; XA PREPARE 'z1'; XA COMMIT 'z1';
SET SESSION binlog_transaction_compression = OFF;
SQL
}

events_tagged() {
    cat <<'SQL'
SET gtid_next = 'AUTOMATIC:mytag'; INSERT INTO plain (id, v) VALUES (210, 'tagged'); INSERT INTO plain (id, v) VALUES (211, 'tagged');
CREATE TABLE by_tag (id INT NOT NULL PRIMARY KEY) ENGINE=InnoDB; SET gtid_next = 'AUTOMATIC';
SET SESSION binlog_transaction_compression = ON; SET gtid_next = 'AUTOMATIC:other_tag';
INSERT INTO plain (id, v) VALUES (212, REPEAT('both', 40));
SET gtid_next = 'AUTOMATIC'; SET SESSION binlog_transaction_compression = OFF;
SQL
}

events_mariadb_compressed() {
    cat <<'SQL'
SET GLOBAL log_bin_compress = ON;
INSERT INTO plain (id, v) SELECT id + 300, REPEAT(v, 3) FROM plain WHERE id < 10;
UPDATE many SET v = CONCAT(v, '.') WHERE id < 20000;
DELETE FROM many WHERE id < 10000;
SET SESSION binlog_format = 'STATEMENT';
INSERT INTO plain (id, v) VALUES (399, 'a statement that is long enough to be compressed: ..............................................................................................................................');
CREATE TABLE long_ddl (id INT NOT NULL PRIMARY KEY, v VARCHAR(20) COMMENT 'a comment that is long enough to be compressed: ........................................................................................................................................................................................................................................................') ENGINE=InnoDB;
SET SESSION binlog_format = 'ROW'; SET GLOBAL log_bin_compress = OFF;
SQL
}

events_domains() {
    cat <<'SQL'
SET SESSION gtid_domain_id = 5; INSERT INTO plain (id, v) VALUES (401, 'domain 5'); INSERT INTO plain (id, v) VALUES (402, 'domain 5');
SET SESSION gtid_domain_id = 0; INSERT INTO plain (id, v) VALUES (403, 'domain 0');
SET SESSION gtid_seq_no = 1000000; INSERT INTO plain (id, v) VALUES (404, 'a number far ahead');
SQL
}

events_sequence() {
    cat <<'SQL'
CREATE SEQUENCE counted START WITH 5 INCREMENT BY 3 CACHE 10; INSERT INTO plain (id, v) VALUES (NEXTVAL(counted) + 500, 'of a sequence');
SQL
}

events_two_phase() {
    cat <<'SQL'
SET SESSION binlog_alter_two_phase = 1; ALTER TABLE many ADD COLUMN w INT DEFAULT 3; SET SESSION binlog_alter_two_phase = 0;
SQL
}

# ---- the end of it -----------------------------------------------------------------------------------------------------------------

EVENTS_MARKER=0
# Writes a row, and waits until the replica has it: all before it is there too.
events_reach() { # SOURCE REPLICA SECONDS
    EVENTS_MARKER=$((EVENTS_MARKER + 1))
    sql "$1" "INSERT INTO ev.marker VALUES ($EVENTS_MARKER)"
    wait_until "$3" "the replica reaches mark $EVENTS_MARKER" events_reached "$2"
}
events_reached() {
    local max
    max=$(sql "$1" 'SELECT MAX(id) FROM ev.marker' 2>&1) || { server replica-status "$SCRATCH/$1"; return 1; }
    echo "mark $max; $(server replica-status "$SCRATCH/$1")"
    [ "$max" = "$EVENTS_MARKER" ]
}
