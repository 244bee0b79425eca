-- As tests/services/mariadb does it.
CREATE DATABASE lagar CHARACTER SET utf8mb4;
CREATE USER lagar@'%' IDENTIFIED BY 'lagar';
GRANT ALL PRIVILEGES ON *.* TO lagar@'%' WITH GRANT OPTION;
