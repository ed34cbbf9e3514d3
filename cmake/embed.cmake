# Puts files into a program: as a function for the build, and, run as a script
# by what that function adds, as the one who writes them down in C.

if(NOT CMAKE_SCRIPT_MODE_FILE)
    set(PEAL_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

    # peal_embed_page(<target> <folder>)
    #
    # Adds the array page_files of <folder>/../page.h. Whenever a file in the
    # folder is edited, added or removed, it is made anew.
    function(peal_embed_page target folder)
        file(GLOB files CONFIGURE_DEPENDS ${folder}/*)
        set(output ${PROJECT_BINARY_DIR}/${target}_page.c)
        add_custom_command(
            OUTPUT ${output}
            COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} "-DFILES=${files}"
                    -P ${PEAL_EMBED_SCRIPT}
            DEPENDS ${files} ${PEAL_EMBED_SCRIPT}
            COMMENT "Embedding the page of ${target}"
            VERBATIM)
        target_sources(${target} PRIVATE ${output})
        cmake_path(GET folder PARENT_PATH parent)
        target_include_directories(${target} PRIVATE ${parent})
    endfunction()

    # peal_embed_bytes(<target> <file> <header>)
    #
    # Writes the bytes of a file as a list for C, to be included between the
    # braces of an array. Done while configuring, so that linters find it.
    function(peal_embed_bytes target file header)
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
        set(folder ${PROJECT_BINARY_DIR}/embedded)
        peal_bytes_of(bytes ${file})
        file(CONFIGURE OUTPUT ${folder}/${header} CONTENT "${bytes}" @ONLY)
        target_include_directories(${target} PRIVATE ${folder})
    endfunction()
endif()

# peal_bytes_of(<variable> <file>)
#
# Sixteen bytes to a line.
function(peal_bytes_of variable file)
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "(................................)" "\\1\n" hex
           "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
    set(${variable} "${hex}" PARENT_SCOPE)
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE)
    return()
endif()

set(type_html "text/html; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_svg "image/svg+xml")

set(arrays "")
set(table "")
set(index 0)
foreach(file IN LISTS FILES)
    cmake_path(GET file FILENAME name)
    cmake_path(GET file EXTENSION LAST_ONLY extension)
    string(SUBSTRING "${extension}" 1 -1 extension)
    if(NOT DEFINED type_${extension})
        message(FATAL_ERROR "${file}: of no known type")
    endif()
    if(name STREQUAL "index.html")
        set(name "")
    endif()

    peal_bytes_of(bytes ${file})
    string(APPEND arrays
           "static const unsigned char file_${index}[] = {\n${bytes}0};\n\n")
    string(APPEND table
           "    {\"/${name}\", \"${type_${extension}}\", file_${index},\n"
           "     sizeof file_${index} - 1},\n")
    math(EXPR index "${index} + 1")
endforeach()

file(WRITE ${OUTPUT} "\
/* Made by cmake/embed.cmake. */
#include \"page.h\"

${arrays}const struct page_file page_files[] = {
${table}};
const size_t page_file_count = ${index};
")
